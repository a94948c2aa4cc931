"""Transfer: what comes after a pretrained network, trained on its features, which are computed once and kept."""

from convista.transfer.store import FeatureStore, fingerprint, store_key

__all__ = ["FeatureStore", "fingerprint", "store_key"]
