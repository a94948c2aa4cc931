"""How keras.applications names the layers of the same networks, as rewriting rules (see `rules`).

The numbers that Keras gives by itself (`conv2d_17`) count on from one model to the next; `renumbered` brings them
back to 0.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["KERAS_DIALECTS", "renumbered"]

Dialect = tuple[tuple[str, str], ...]

HEAD: Dialect = ((r"^(predictions|probs|fc1000)$", "head.linear"),)
VGG: Dialect = (
    (r"^block(\d)_conv(\d)$", "conv{1}_{2}.conv"),
    (r"^fc1$", "fc6.linear"),
    (r"^fc2$", "fc7.linear"),
    (r"^predictions$", "fc8.linear"),
)
RESNET: Dialect = (
    (r"^conv1_conv$", "conv1.conv"),
    (r"^conv1_bn$", "conv1.norm"),
    (r"^conv(\d)_block(\d+)_0_(conv|bn)$", "conv{1}_x.block{2}.shortcut.{3}"),
    (r"^conv(\d)_block(\d+)_1_(conv|bn)$", "conv{1}_x.block{2}.reduce.{3}"),
    (r"^conv(\d)_block(\d+)_2_(conv|bn)$", "conv{1}_x.block{2}.conv.{3}"),
    (r"^conv(\d)_block(\d+)_3_(conv|bn)$", "conv{1}_x.block{2}.expand.{3}"),
    (r"\.bn$", ".norm"),
    *HEAD,
)
DENSENET: Dialect = (
    (r"^conv1[/_]conv$", "conv1.conv"),
    (r"^conv1[/_]bn$", "conv1.norm"),
    (r"^conv(\d)_block(\d+)_0_bn$", "dense{1-1}.layer{2}.reduce.norm"),
    (r"^conv(\d)_block(\d+)_1_conv$", "dense{1-1}.layer{2}.reduce.conv"),
    (r"^conv(\d)_block(\d+)_1_bn$", "dense{1-1}.layer{2}.conv.norm"),
    (r"^conv(\d)_block(\d+)_2_conv$", "dense{1-1}.layer{2}.conv.conv"),
    (r"^pool(\d)_bn$", "transition{1-1}.conv.norm"),
    (r"^pool(\d)_conv$", "transition{1-1}.conv.conv"),
    (r"^bn$", "norm"),
    *HEAD,
)
MOBILENET: Dialect = (
    (r"^conv1$", "conv1.conv"),
    (r"^conv1_bn$", "conv1.norm"),
    (r"^conv_dw_(\d+)(?:/depthwise)?$", "conv{1+1}.depthwise.conv"),
    (r"^conv_dw_(\d+)_bn$", "conv{1+1}.depthwise.norm"),
    (r"^conv_pw_(\d+)$", "conv{1+1}.project.conv"),
    (r"^conv_pw_(\d+)_bn$", "conv{1+1}.project.norm"),
    (r"^conv_preds$", "head.linear"),
    *HEAD,
)
XCEPTION: Dialect = (
    (r"^block1_conv(\d)$", "conv{1}.conv"),
    (r"^block1_conv(\d)_bn$", "conv{1}.norm"),
    (r"^block([234])_", "entry{1-1}."),
    (r"^block([5-9]|1[0-2])_", "middle.block{1-4}."),
    (r"^block13_", "exit1."),
    (r"^block14_sepconv(\d)/depthwise$", "exit{1+1}.depthwise.conv"),
    (r"^block14_sepconv(\d)/pointwise$", "exit{1+1}.project.conv"),
    (r"^block14_sepconv(\d)_bn$", "exit{1+1}.project.norm"),
    (r"\.sepconv(\d)/depthwise$", ".conv{1}.depthwise.conv"),
    (r"\.sepconv(\d)/pointwise$", ".conv{1}.project.conv"),
    (r"\.sepconv(\d)_bn$", ".conv{1}.project.norm"),
    (r"^conv2d@([0-2])$", "entry{1+1}.shortcut.conv"),
    (r"^batch_normalization@([0-2])$", "entry{1+1}.shortcut.norm"),
    (r"^conv2d@3$", "exit1.shortcut.conv"),
    (r"^batch_normalization@3$", "exit1.shortcut.norm"),
    *HEAD,
)
_BLOCKS = "abcdefghijklmnopqrstuvwxyz"
EFFICIENTNET: Dialect = (
    (r"^stem_conv$", "stage1.conv"),
    (r"^stem_bn$", "stage1.norm"),
    (r"^top_conv$", "stage9.conv"),
    (r"^top_bn$", "stage9.norm"),
    *((rf"^block(\d){letter}_", f"stage{{1+1}}.block{i + 1}.") for i, letter in enumerate(_BLOCKS)),
    (r"\.expand_conv$", ".expand.conv"),
    (r"\.expand_bn$", ".expand.norm"),
    (r"\.dwconv2?(?:/depthwise)?$", ".depthwise.conv"),
    (r"\.bn$", ".depthwise.norm"),
    (r"\.se_reduce$", ".squeeze_excite.squeeze.conv"),
    (r"\.se_expand$", ".squeeze_excite.excite.conv"),
    (r"\.project_conv$", ".project.conv"),
    (r"\.project_bn$", ".project.norm"),
    *HEAD,
)


def _inception(names: tuple[str, ...]) -> Dialect:
    """Layers that Keras numbers in the order in which `names` lists ours."""
    convs = ((rf"^conv2d@{i}$", f"{name}.conv") for i, name in enumerate(names))
    norms = ((rf"^batch_normalization@{i}$", f"{name}.norm") for i, name in enumerate(names))
    return (*convs, *norms, *HEAD)


STEM = ("conv1", "conv2", "conv3", "conv4", "conv5")
INCEPTION_V3 = _inception(
    (
        *STEM,
        *(
            f"mixed5{x}.{row}"
            for x in "bcd"
            for row in (
                "conv1x1", "conv5x5.reduce", "conv5x5.conv",
                "double3x3.reduce", "double3x3.conv1", "double3x3.conv2", "pool.project",
            )
        ),
        *(f"mixed6a.{row}" for row in ("conv3x3", "double3x3.reduce", "double3x3.conv1", "double3x3.conv2")),
        *(
            f"mixed6{x}.{row}"
            for x in "bcde"
            for row in (
                "conv1x1", "conv7x7.reduce", "conv7x7.conv1", "conv7x7.conv2", "double7x7.reduce",
                "double7x7.conv1", "double7x7.conv2", "double7x7.conv3", "double7x7.conv4", "pool.project",
            )
        ),
        *(
            f"mixed7a.{row}"
            for row in (
                "conv3x3.reduce", "conv3x3.conv", "conv7x7.reduce", "conv7x7.conv1", "conv7x7.conv2", "conv7x7.conv3"
            )
        ),
        *(
            f"mixed7{x}.{row}"
            for x in "bc"
            for row in (
                "conv1x1", "conv3x3.reduce", "conv3x3.split.wide", "conv3x3.split.tall", "double3x3.reduce",
                "double3x3.conv", "double3x3.split.wide", "double3x3.split.tall", "pool.project",
            )
        ),
    )
)  # fmt: skip
INCEPTION_RESNET: Dialect = (
    (r"^block35_(\d+)_conv$", "inception_a.block{1}.up.conv"),
    (r"^block17_(\d+)_conv$", "inception_b.block{1}.up.conv"),
    (r"^block8_(\d+)_conv$", "inception_c.block{1}.up.conv"),
    (r"^conv_7b$", "conv7b.conv"),
    (r"^conv_7b_bn$", "conv7b.norm"),
    *_inception(
        (
            *STEM,
            *(
                f"mixed5b.{row}"
                for row in ("a", "b.reduce", "b.conv", "c.reduce", "c.conv1", "c.conv2", "pool.project")
            ),
            *(
                f"inception_a.block{i}.branches.{row}"
                for i in range(1, 11)
                for row in ("a", "b.reduce", "b.conv", "c.reduce", "c.conv1", "c.conv2")
            ),
            *(f"reduction_a.{row}" for row in ("a", "b.reduce", "b.conv1", "b.conv2")),
            *(
                f"inception_b.block{i}.branches.{row}"
                for i in range(1, 21)
                for row in ("a", "b.reduce", "b.conv1", "b.conv2")
            ),
            *(
                f"reduction_b.{row}"
                for row in ("a.reduce", "a.conv", "b.reduce", "b.conv", "c.reduce", "c.conv1", "c.conv2")
            ),
            *(
                f"inception_c.block{i}.branches.{row}"
                for i in range(1, 11)
                for row in ("a", "b.reduce", "b.conv1", "b.conv2")
            ),
        )
    ),
)
_CELL: Dialect = (
    (r"^(?:normal|reduction)_conv_1_(.+)$", "cell:{1}.current.conv"),
    (r"^(?:normal|reduction)_bn_1_(.+)$", "cell:{1}.current.norm"),
    (r"^adjust_conv_1_(.+)$", "cell:{1}.previous.even"),
    (r"^adjust_conv_2_(.+)$", "cell:{1}.previous.odd"),
    (r"^adjust_conv_projection_(.+)$", "cell:{1}.previous.conv"),
    (r"^adjust_bn_(.+)$", "cell:{1}.previous.norm"),
    (r"_reduction_left4_", "_reduction_left5_"),  # Keras counts the fifth row as the fourth
    (r"^separable_conv_(\d)_bn_(?:normal|reduction)_(left|right)(\d)_(.+)$", "cell:{4}.row{3}.{2}.pointwise{1}.norm"),
    (
        r"^separable_conv_(\d)_(?:normal|reduction)_(left|right)(\d)_(.+)/(depthwise|pointwise)$",
        "cell:{4}.row{3}.{2}.{5}{1}.conv",
    ),
)


def _nasnet(repeats: int) -> Dialect:
    """Keras numbers the cells from 0 and leaves out a number for each reduction."""
    n = repeats
    cells = {"stem_1": "stem1", "stem_2": "stem2", f"reduce_{n}": "reduction1", f"reduce_{2 * n}": "reduction2"}
    cells |= {str(i): f"normal1_{i + 1}" for i in range(n)}
    cells |= {str(n + 1 + i): f"normal2_{i + 1}" for i in range(n)}
    cells |= {str(2 * n + 1 + i): f"normal3_{i + 1}" for i in range(n)}
    named = tuple((rf"^cell:{old}\.", f"cells.{new}.") for old, new in cells.items())
    return ((r"^stem_conv1$", "conv1.conv"), (r"^stem_bn1$", "conv1.norm"), *_CELL, *named, *HEAD)


KERAS_DIALECTS: dict[str, tuple[Dialect, ...]] = {
    "densenet": (DENSENET,),
    "efficientnet": (EFFICIENTNET,),
    "inception_resnet_v2": (INCEPTION_RESNET,),
    "inception_v3": (INCEPTION_V3,),
    "mobilenet": (MOBILENET,),
    "nasnet": (_nasnet(4), _nasnet(6)),
    "resnet": (RESNET,),
    "vgg": (VGG,),
    "xception": (XCEPTION,),
}


def renumbered(names: Iterable[str]) -> dict[str, str]:
    """Names of layers, those that Keras numbered by itself as `kind@0`, `kind@1`, … in the order of their numbers.

    >>> renumbered(["conv2d_8", "conv2d_12", "stem_bn"])
    {'conv2d_8': 'conv2d@0', 'conv2d_12': 'conv2d@1', 'stem_bn': 'stem_bn'}
    """
    names = list(names)
    made = {name: name for name in names}
    for kind in ("conv2d", "batch_normalization"):
        numbered = [(int(m[1] or 0), name) for name in names if (m := re.fullmatch(rf"{kind}(?:_(\d+))?", name))]
        made |= {name: f"{kind}@{i}" for i, (_, name) in enumerate(sorted(numbered))}
    return made
