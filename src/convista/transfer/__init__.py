"""Transfer: what comes after a pretrained network, trained on its features, which are computed once and kept."""

from convista.transfer.adapt import adapted
from convista.transfer.doubts import Suspect, suspects
from convista.transfer.effect import Effect, Shifted, shifted
from convista.transfer.evidence import Evidence, classified, evidence
from convista.transfer.extract import Features, Views, features_of
from convista.transfer.faults import Disagreement, Duplicates, disagreeing, duplicates
from convista.transfer.head import HeadEpoch, HeadRecipe, train_head
from convista.transfer.learn import Start, resume_from, train_from
from convista.transfer.logistic import softmax_probe
from convista.transfer.maps import Principal, pca, project
from convista.transfer.neighbours import nearest
from convista.transfer.pretrained import Pretrained, pretrained
from convista.transfer.probe import Probe, ridge
from convista.transfer.ranking import LeftOut, Ranked, Ranking, ranking
from convista.transfer.retrieval import Retrieval, retrieval
from convista.transfer.shift import Channel, Shift, shift
from convista.transfer.store import FeatureStore, fingerprint, store_key
from convista.transfer.table import FeatureTable, feature_table, written
from convista.transfer.trunk import Trunk
from convista.transfer.voting import knn, knn_accuracy

__all__ = [
    "Channel",
    "Disagreement",
    "Duplicates",
    "Effect",
    "Evidence",
    "FeatureStore",
    "FeatureTable",
    "Features",
    "HeadEpoch",
    "HeadRecipe",
    "LeftOut",
    "Pretrained",
    "Principal",
    "Probe",
    "Ranked",
    "Ranking",
    "Retrieval",
    "Shift",
    "Shifted",
    "Start",
    "Suspect",
    "Trunk",
    "Views",
    "adapted",
    "classified",
    "disagreeing",
    "duplicates",
    "evidence",
    "feature_table",
    "features_of",
    "fingerprint",
    "knn",
    "knn_accuracy",
    "nearest",
    "pca",
    "pretrained",
    "project",
    "ranking",
    "resume_from",
    "retrieval",
    "ridge",
    "shift",
    "shifted",
    "softmax_probe",
    "store_key",
    "suspects",
    "train_from",
    "train_head",
    "written",
]
