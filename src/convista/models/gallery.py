"""The building blocks of the papers, to build tables of your own with: each is a function that gives frozen data.

>>> from convista.blocks import Chain, Conv, Head, Spec, stage
>>> mine = Spec("mine", Chain(conv1=Conv(32, 3, 2), body=stage(2, inverted, 48, 2), head=Head(4)), image=64)
>>> mine.classes
4
"""

from convista.models.densenet import layer as dense_layer
from convista.models.efficientnet import mbconv
from convista.models.googlenet import inception, naive_inception
from convista.models.inceptionv3 import factorised, figure_5, figure_6, figure_7
from convista.models.mobilenet import separable
from convista.models.mobilenetv2 import inverted
from convista.models.nasnet import normal as nasnet_normal
from convista.models.nasnet import reduction as nasnet_reduction
from convista.models.resnet import basic, bottleneck, bottleneck_v1
from convista.models.resnetcifar import option_a, plain
from convista.models.resnetv2 import preactivation
from convista.models.resnext import grouped
from convista.models.xception import separable as xception_separable

__all__ = [
    "basic",
    "bottleneck",
    "bottleneck_v1",
    "dense_layer",
    "factorised",
    "figure_5",
    "figure_6",
    "figure_7",
    "grouped",
    "inception",
    "inverted",
    "mbconv",
    "naive_inception",
    "nasnet_normal",
    "nasnet_reduction",
    "option_a",
    "plain",
    "preactivation",
    "separable",
    "xception_separable",
]
