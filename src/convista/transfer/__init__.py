"""Transfer: what comes after a pretrained network, trained on its features, which are computed once and kept."""

from convista.transfer.doubts import Suspect, suspects
from convista.transfer.extract import Features, Views, features_of
from convista.transfer.faults import Disagreement, Duplicates, disagreeing, duplicates
from convista.transfer.head import HeadEpoch, HeadRecipe, train_head
from convista.transfer.learn import Start, resume_from, start_of, sweep_start, train_from, way_from
from convista.transfer.logistic import softmax_probe
from convista.transfer.maps import Principal, pca, project
from convista.transfer.neighbours import nearest
from convista.transfer.onray import ray_features
from convista.transfer.plan import tuned_recipe
from convista.transfer.pretrained import Pretrained, pretrained
from convista.transfer.probe import Probe, ridge
from convista.transfer.retrieval import Retrieval, retrieval
from convista.transfer.store import FeatureStore, fingerprint, store_key
from convista.transfer.table import FeatureTable, feature_table, written
from convista.transfer.trunk import Trunk
from convista.transfer.voting import knn, knn_accuracy

__all__ = [
    "Disagreement",
    "Duplicates",
    "FeatureStore",
    "FeatureTable",
    "Features",
    "HeadEpoch",
    "HeadRecipe",
    "Pretrained",
    "Principal",
    "Probe",
    "Retrieval",
    "Start",
    "Suspect",
    "Trunk",
    "Views",
    "disagreeing",
    "duplicates",
    "feature_table",
    "features_of",
    "fingerprint",
    "knn",
    "knn_accuracy",
    "nearest",
    "pca",
    "pretrained",
    "project",
    "ray_features",
    "resume_from",
    "retrieval",
    "ridge",
    "softmax_probe",
    "start_of",
    "store_key",
    "suspects",
    "sweep_start",
    "train_from",
    "train_head",
    "tuned_recipe",
    "way_from",
    "written",
]
