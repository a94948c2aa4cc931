"""Transfer: what comes after a pretrained network, trained on its features, which are computed once and kept."""

from convista.transfer.maps import Principal, pca, project
from convista.transfer.neighbours import nearest
from convista.transfer.retrieval import Retrieval, retrieval
from convista.transfer.store import FeatureStore, fingerprint, store_key
from convista.transfer.suspects import Disagreement, Duplicates, disagreeing, duplicates

__all__ = [
    "Disagreement",
    "Duplicates",
    "FeatureStore",
    "Principal",
    "Retrieval",
    "disagreeing",
    "duplicates",
    "fingerprint",
    "nearest",
    "pca",
    "project",
    "retrieval",
    "store_key",
]
