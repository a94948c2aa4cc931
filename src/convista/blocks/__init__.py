"""The words that networks are written in: frozen data that builds plain modules."""

from convista.blocks.base import IN, Block, In, block_from_json
from convista.blocks.init import INITIALISERS, he, lecun
from convista.blocks.joins import Add, Chain, Residual, SubsampleAndPad, stage
from convista.blocks.names import LayerShape, layers, shapes
from convista.blocks.spec import Net, Spec
from convista.blocks.words import ACTIVATIONS, Act, Conv, Dense, Dropout, Flatten, Head, Norm, Pool, ScaledTanh

__all__ = [
    "ACTIVATIONS",
    "IN",
    "INITIALISERS",
    "Act",
    "Add",
    "Block",
    "Chain",
    "Conv",
    "Dense",
    "Dropout",
    "Flatten",
    "Head",
    "In",
    "LayerShape",
    "Net",
    "Norm",
    "Pool",
    "Residual",
    "ScaledTanh",
    "Spec",
    "SubsampleAndPad",
    "block_from_json",
    "he",
    "layers",
    "lecun",
    "shapes",
    "stage",
]
