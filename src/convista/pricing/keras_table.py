"""The table of the Keras documentation (https://keras.io/api/applications), counted on our own networks.

Keras counts other things than we do. These rules lead from our count to its own:

- always: the running mean and variance of each normalisation are parameters too (two for each channel);
- `biases`: in ResNet all convolutions have a bias; `biases_v2`: in ResNet v2 the first one, the projections and the
  last of each block have one;
- `no_scale`: the normalisations of the Inceptions have no scale, one parameter less for each channel;
- `scaled_input`: EfficientNet begins with a layer that normalises pictures: a mean and a variance for each of three
  colours and a count, 7 parameters and one layer.

Depth, as Keras has it, counts layers that have weights: convolutions, fully connected layers and normalisations.
`separable`: Xception and NASNet join a depthwise convolution and the 1x1 behind it in one layer.

Accuracies and `size` are those of the documentation: its sizes are those of files that Keras once saved, which no count
gives back (EfficientNetB0: 29 MB for 20 MB of weights). `weights` is what the parameters take as 32-bit floats.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from torch import nn

from convista.models.cards import NETWORKS
from convista.pricing.facts import depth, skeleton

__all__ = ["KerasRow", "keras_table"]


@dataclass(frozen=True)
class KerasRow:
    """A row: Keras' name and ours, megabytes (2 ** 20 bytes), accuracies in per cent, and the counts."""

    model: str
    network: str
    size: int
    weights: float
    top1: float
    top5: float
    params: int
    depth: int
    conv_fc: int


# Keras' name, ours, size, top-1, top-5, and the rules for the row.
ROWS: tuple[tuple[str, str, int, float, float, tuple[str, ...]], ...] = (
    ("Xception", "xception", 88, 79.0, 94.5, ("separable",)),
    ("VGG16", "vgg16", 528, 71.3, 90.1, ()),
    ("VGG19", "vgg19", 549, 71.3, 90.0, ()),
    ("ResNet50", "resnet50_v1", 98, 74.9, 92.1, ("biases",)),
    ("ResNet101", "resnet101_v1", 171, 76.4, 92.8, ("biases",)),
    ("ResNet152", "resnet152_v1", 232, 76.6, 93.1, ("biases",)),
    ("ResNet50V2", "resnet50_v2", 98, 76.0, 93.0, ("biases_v2",)),
    ("ResNet101V2", "resnet101_v2", 171, 77.2, 93.8, ("biases_v2",)),
    ("ResNet152V2", "resnet152_v2", 232, 78.0, 94.2, ("biases_v2",)),
    ("InceptionV3", "inception_v3", 92, 77.9, 93.7, ("no_scale",)),
    ("InceptionResNetV2", "inception_resnet_v2", 215, 80.3, 95.3, ("no_scale",)),
    ("MobileNet", "mobilenet", 16, 70.4, 89.5, ()),
    ("MobileNetV2", "mobilenet_v2", 14, 71.3, 90.1, ()),
    ("DenseNet121", "densenet121", 33, 75.0, 92.3, ()),
    ("DenseNet169", "densenet169", 57, 76.2, 93.2, ()),
    ("DenseNet201", "densenet201", 80, 77.3, 93.6, ()),
    ("NASNetMobile", "nasnet_mobile", 23, 74.4, 91.9, ("separable",)),
    ("NASNetLarge", "nasnet_large", 343, 82.5, 96.0, ("separable",)),
    ("EfficientNetB0", "efficientnet_b0", 29, 77.1, 93.3, ("scaled_input",)),
    ("EfficientNetB1", "efficientnet_b1", 31, 79.1, 94.4, ("scaled_input",)),
    ("EfficientNetB2", "efficientnet_b2", 36, 80.1, 94.9, ("scaled_input",)),
    ("EfficientNetB3", "efficientnet_b3", 48, 81.6, 95.7, ("scaled_input",)),
    ("EfficientNetB4", "efficientnet_b4", 75, 82.9, 96.4, ("scaled_input",)),
    ("EfficientNetB5", "efficientnet_b5", 118, 83.6, 96.7, ("scaled_input",)),
    ("EfficientNetB6", "efficientnet_b6", 166, 84.0, 96.8, ("scaled_input",)),
    ("EfficientNetB7", "efficientnet_b7", 256, 84.3, 97.0, ("scaled_input",)),
)
BIASES = {
    "biases": "",
    "biases_v2": r"^conv1\.conv$|(expand|shortcut)\.conv$",
}  # which convolutions, by the end of the name


def keras_table() -> list[KerasRow]:
    """All rows, in the order of the documentation. Builds each network once, without memory for its weights."""
    rows = []
    for model, name, size, top1, top5, rules in ROWS:
        net = skeleton(NETWORKS[name])
        params, layers = _as_keras(net, rules)
        weights = round(4 * params / 2**20, 1)
        rows.append(KerasRow(model, name, size, weights, top1, top5, params, layers, depth(net)))
    return rows


def _as_keras(net: nn.Module, rules: tuple[str, ...]) -> tuple[int, int]:
    """Parameters and layers as Keras counts them."""
    convs = {name: m for name, m in net.named_modules() if isinstance(m, nn.Conv2d)}
    norms = [m.num_features for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    params = sum(p.numel() for p in net.parameters()) + 2 * sum(norms)
    layers = len(convs) + sum(isinstance(m, nn.Linear) for m in net.modules()) + len(norms)
    for rule in rules:
        if rule in BIASES:
            params += sum(m.out_channels for name, m in convs.items() if re.search(BIASES[rule], name))
        elif rule == "no_scale":
            params -= sum(norms)
        elif rule == "scaled_input":
            params, layers = params + 7, layers + 1
        elif rule == "separable":
            layers -= sum(m.groups == m.in_channels > 1 for m in convs.values())
    return params, layers
