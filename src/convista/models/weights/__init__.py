"""Weights in and out: files of any common kind, other libraries' modules, our own safetensors."""

from convista.models.weights.fetch import download, find_weights
from convista.models.weights.fit import fill, port
from convista.models.weights.origin import Origin
from convista.models.weights.read import Weights, read_weights
from convista.models.weights.report import WeightsReport

__all__ = ["Origin", "Weights", "WeightsReport", "download", "fill", "find_weights", "port", "read_weights"]
