"""Transfer: what comes after a pretrained network, trained on its features, which are computed once and kept."""

from convista.transfer.extract import Features, Views, features_of
from convista.transfer.store import FeatureStore, fingerprint, store_key
from convista.transfer.trunk import Trunk

__all__ = ["FeatureStore", "Features", "Trunk", "Views", "features_of", "fingerprint", "store_key"]
