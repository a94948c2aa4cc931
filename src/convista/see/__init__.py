"""Looking inside a network."""

from convista.see.filters import first_filters

__all__ = ["first_filters"]
