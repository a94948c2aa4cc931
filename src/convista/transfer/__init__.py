"""Transfer: what comes after a pretrained network, trained on its features, which are computed once and kept."""

from convista.transfer.extract import Features, Views, features_of
from convista.transfer.learn import Start, resume_from, train_from
from convista.transfer.pretrained import Pretrained, pretrained
from convista.transfer.store import FeatureStore, fingerprint, store_key
from convista.transfer.table import FeatureTable, feature_table, written
from convista.transfer.trunk import Trunk

__all__ = [
    "FeatureStore",
    "FeatureTable",
    "Features",
    "Pretrained",
    "Start",
    "Trunk",
    "Views",
    "feature_table",
    "features_of",
    "fingerprint",
    "pretrained",
    "resume_from",
    "store_key",
    "train_from",
    "written",
]
