"""The words that networks are written in: frozen data that builds plain modules."""

from convista.blocks.auxiliary import Auxiliary
from convista.blocks.base import IN, Block, DoesNotFitError, In, block_from_json
from convista.blocks.cells import Cell, Cells
from convista.blocks.historic import RadialBasis, SparseConv, SparseConv2d, Subsample
from convista.blocks.init import (
    INITIALISERS,
    dirac,
    he,
    lecun,
    orthonormal,
    scale_weights,
    weighted,
    xavier,
    zero_last,
    zeros,
)
from convista.blocks.joins import Branches, Chain, Concat, Dense, stage
from convista.blocks.names import LayerShape, capture, layers, shapes
from convista.blocks.pools import Flatten, Head, Pool, PoolTo
from convista.blocks.residual import Add, DropPath, Residual, SubsampleAndPad
from convista.blocks.spec import Level, Net, Spec
from convista.blocks.words import (
    ACTIVATIONS,
    Act,
    Conv,
    Dropout,
    Linear,
    LocalResponseNorm,
    Norm,
    ScaledTanh,
    SqueezeExcite,
    activation,
)

__all__ = [
    "ACTIVATIONS",
    "IN",
    "INITIALISERS",
    "Act",
    "Add",
    "Auxiliary",
    "Block",
    "Branches",
    "Cell",
    "Cells",
    "Chain",
    "Concat",
    "Conv",
    "Dense",
    "DoesNotFitError",
    "DropPath",
    "Dropout",
    "Flatten",
    "Head",
    "In",
    "LayerShape",
    "Level",
    "Linear",
    "LocalResponseNorm",
    "Net",
    "Norm",
    "Pool",
    "PoolTo",
    "RadialBasis",
    "Residual",
    "ScaledTanh",
    "SparseConv",
    "SparseConv2d",
    "Spec",
    "SqueezeExcite",
    "Subsample",
    "SubsampleAndPad",
    "activation",
    "block_from_json",
    "capture",
    "dirac",
    "he",
    "layers",
    "lecun",
    "orthonormal",
    "scale_weights",
    "shapes",
    "stage",
    "weighted",
    "xavier",
    "zero_last",
    "zeros",
]
