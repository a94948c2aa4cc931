"""Transfer: what comes after a pretrained network, trained on its features, which are computed once and kept."""

from convista.transfer.adapt import adapted
from convista.transfer.doubts import Suspect, suspects
from convista.transfer.effect import Effect, Shifted, shifted
from convista.transfer.evidence import Evidence, classified, evidence
from convista.transfer.extract import Features, Views, features_of
from convista.transfer.faults import Disagreement, Duplicates, disagreeing, duplicates, usual_threshold
from convista.transfer.head import HeadEpoch, HeadRecipe, train_head
from convista.transfer.learn import Start, resume_from, start_of, sweep_start, train_from, way_from
from convista.transfer.logistic import probe_of, softmax_probe
from convista.transfer.lookup import Neighbour, Neighbours, Query, find_neighbours, source_of
from convista.transfer.maps import Principal, pca, project
from convista.transfer.neighbours import nearest
from convista.transfer.onray import ray_features
from convista.transfer.overview import Overview, overview_of
from convista.transfer.plan import tuned_recipe
from convista.transfer.pretrained import Pretrained, is_run, pretrained
from convista.transfer.probe import Probe, ridge
from convista.transfer.ranking import LeftOut, Ranked, Ranking, ranking
from convista.transfer.retrieval import Retrieval, retrieval
from convista.transfer.shift import Channel, Shift, shift
from convista.transfer.store import FeatureStore, fingerprint, store_key
from convista.transfer.table import FeatureTable, check_out, feature_table, written
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
    "Neighbour",
    "Neighbours",
    "Overview",
    "Pretrained",
    "Principal",
    "Probe",
    "Query",
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
    "check_out",
    "classified",
    "disagreeing",
    "duplicates",
    "evidence",
    "feature_table",
    "features_of",
    "find_neighbours",
    "fingerprint",
    "is_run",
    "knn",
    "knn_accuracy",
    "nearest",
    "overview_of",
    "pca",
    "pretrained",
    "probe_of",
    "project",
    "ranking",
    "ray_features",
    "resume_from",
    "retrieval",
    "ridge",
    "shift",
    "shifted",
    "softmax_probe",
    "source_of",
    "start_of",
    "store_key",
    "suspects",
    "sweep_start",
    "train_from",
    "train_head",
    "tuned_recipe",
    "usual_threshold",
    "way_from",
    "written",
]
