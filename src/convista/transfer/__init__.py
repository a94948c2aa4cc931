"""Transfer: what comes after a pretrained network, trained on its features, which are computed once and kept."""

from convista.transfer.extract import Features, Views, features_of
from convista.transfer.learn import Start, resume_from, train_from
from convista.transfer.maps import Principal, pca, project
from convista.transfer.neighbours import nearest
from convista.transfer.pretrained import Pretrained, pretrained
from convista.transfer.retrieval import Retrieval, retrieval
from convista.transfer.store import FeatureStore, fingerprint, store_key
from convista.transfer.suspects import Disagreement, Duplicates, disagreeing, duplicates
from convista.transfer.table import FeatureTable, feature_table, written
from convista.transfer.trunk import Trunk

__all__ = [
    "Disagreement",
    "Duplicates",
    "FeatureStore",
    "FeatureTable",
    "Features",
    "Pretrained",
    "Principal",
    "Retrieval",
    "Start",
    "Trunk",
    "Views",
    "disagreeing",
    "duplicates",
    "feature_table",
    "features_of",
    "fingerprint",
    "nearest",
    "pca",
    "pretrained",
    "project",
    "resume_from",
    "retrieval",
    "store_key",
    "train_from",
    "written",
]
