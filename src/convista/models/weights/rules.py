r"""How other libraries name the layers of the same networks, as rewriting rules.

A dialect is a list of (pattern, replacement), applied one after another to a layer's name: the pattern is a regular
expression, and `{1+1}` in the replacement is its first group plus one. No rule knows a network's size.
"""

from __future__ import annotations

import re

__all__ = ["DIALECTS", "Dialect", "rewrite"]

Dialect = tuple[tuple[str, str], ...]

HEAD: Dialect = ((r"^(fc|linear|classifier|last_linear|classif|head\.fc)$", "head.linear"),)
RESNET: Dialect = (
    (r"^conv1$", "conv1.conv"),
    (r"^bn1$", "conv1.norm"),
    (r"^layer(\d)\.(\d+)\.", "conv{1+1}_x.block{2+1}."),
    (r"(downsample|shortcut)\.0$", "shortcut.conv"),
    (r"(downsample|shortcut)\.1$", "shortcut.norm"),
    *HEAD,
)
BASIC: Dialect = ((r"\.conv([12])$", ".conv{1}.conv"), (r"\.bn([12])$", ".conv{1}.norm"))
BOTTLENECK: Dialect = (
    (r"\.conv1$", ".reduce.conv"),
    (r"\.bn1$", ".reduce.norm"),
    (r"\.conv2$", ".conv.conv"),
    (r"\.bn2$", ".conv.norm"),
    (r"\.conv3$", ".expand.conv"),
    (r"\.bn3$", ".expand.norm"),
)
PREACTIVATION: Dialect = (
    (r"^stem\.conv$", "conv1.conv"),
    (r"^stages\.(\d)\.blocks\.(\d+)\.", "conv{1+2}_x.block{2+1}."),
    (r"downsample\.conv$", "shortcut.conv"),
    (r"\.norm1$", ".pre.norm"),
    (r"\.conv1$", ".reduce.conv"),
    (r"\.norm2$", ".reduce.norm"),
    (r"\.conv2$", ".conv.conv"),
    (r"\.norm3$", ".conv.norm"),
    (r"\.conv3$", ".expand.conv"),
    *HEAD,
)
DENSENET: Dialect = (
    (r"^features\.", ""),
    (r"^conv0$", "conv1.conv"),
    (r"^norm0$", "conv1.norm"),
    (r"^norm5$", "norm"),
    (r"^denseblock(\d)\.denselayer(\d+)\.(norm|conv)\.?1$", "dense{1}.layer{2}.reduce.{3}"),
    (r"^denseblock(\d)\.denselayer(\d+)\.(norm|conv)\.?2$", "dense{1}.layer{2}.conv.{3}"),
    (r"^transition(\d)\.(norm|conv)$", "transition{1}.conv.{2}"),
    *HEAD,
)
INCEPTION: Dialect = (
    (r"\.bn$", ".norm"),
    (r"^Conv2d_1a_3x3\.", "conv1."),
    (r"^Conv2d_2a_3x3\.", "conv2."),
    (r"^Conv2d_2b_3x3\.", "conv3."),
    (r"^Conv2d_3b_1x1\.", "conv4."),
    (r"^Conv2d_4a_3x3\.", "conv5."),
    (r"^Mixed_", "mixed"),
    (r"branch_pool\.", "pool.project."),
    (r"branch1x1\.", "conv1x1."),
    (r"^mixed6a\.branch3x3\.", "mixed6a.conv3x3."),
    (r"branch(3x3|5x5|7x7)_1\.", "conv{1}.reduce."),
    (r"branch(3x3|7x7)dbl_1\.", "double{1}.reduce."),
    (r"^mixed(7[bc])\.branch3x3dbl_2\.", "mixed{1}.double3x3.conv."),
    (r"branch3x3_2a\.", "conv3x3.split.wide."),
    (r"branch3x3_2b\.", "conv3x3.split.tall."),
    (r"branch3x3dbl_3a\.", "double3x3.split.wide."),
    (r"branch3x3dbl_3b\.", "double3x3.split.tall."),
    (r"branch(3x3|5x5)_2\.", "conv{1}.conv."),
    (r"branch7x7x3_1\.", "conv7x7.reduce."),
    (r"branch(7x7)(?:x3)?_(\d)\.", "conv{1}.conv{2-1}."),
    (r"branch(3x3|7x7)dbl_(\d)\.", "double{1}.conv{2-1}."),
    (r"^AuxLogits\.conv0\.", "aux.reduce."),
    (r"^AuxLogits\.conv1\.", "aux.conv."),
    (r"^AuxLogits\.fc$", "aux.out.linear"),
    *HEAD,
)
GOOGLENET: Dialect = (
    (r"\.bn$", ".norm"),
    (r"^conv2\.", "conv2_reduce."),
    (r"^conv3\.", "conv2."),
    (r"\.branch1\.", ".conv1x1."),
    (r"\.branch2\.0\.", ".conv3x3.reduce."),
    (r"\.branch2\.1\.", ".conv3x3.conv."),
    (r"\.branch3\.0\.", ".conv5x5.reduce."),
    (r"\.branch3\.1\.", ".conv5x5.conv."),
    (r"\.branch4\.1\.", ".pool.project."),
    (r"^aux(\d)\.fc1$", "aux{1}.fc.linear"),
    (r"^aux(\d)\.fc2$", "aux{1}.out.linear"),
    *HEAD,
)
INCEPTION_RESNET: Dialect = (
    (r"\.bn$", ".norm"),
    (r"^conv2d_1a\.", "conv1."),
    (r"^conv2d_2a\.", "conv2."),
    (r"^conv2d_2b\.", "conv3."),
    (r"^conv2d_3b\.", "conv4."),
    (r"^conv2d_4a\.", "conv5."),
    (r"^conv2d_7b\.", "conv7b."),
    (r"^mixed_5b\.branch3\.1\.", "mixed5b.pool.project."),
    (r"^mixed_5b\.branch1\.1\.", "mixed5b.b.conv."),
    (r"^mixed_5b\.", "mixed5b."),
    (r"^mixed_7a\.branch0\.1\.", "reduction_b.a.conv."),
    (r"^mixed_7a\.branch1\.1\.", "reduction_b.b.conv."),
    (r"^mixed_6a\.", "reduction_a."),
    (r"^mixed_7a\.", "reduction_b."),
    (r"^repeat\.(\d+)\.branch1\.1\.", "inception_a.block{1+1}.branches.b.conv."),
    (r"^repeat\.(\d+)\.", "inception_a.block{1+1}.branches."),
    (r"^repeat_1\.(\d+)\.", "inception_b.block{1+1}.branches."),
    (r"^repeat_2\.(\d+)\.", "inception_c.block{1+1}.branches."),
    (r"^block8\.", "inception_c.block10.branches."),
    (r"branches\.conv2d$", "up.conv"),
    (r"branch0\.0\.", "a.reduce."),
    (r"branch0\.", "a."),
    (r"branch1\.0\.", "b.reduce."),
    (r"branch2\.0\.", "c.reduce."),
    (r"branch1\.(\d)\.", "b.conv{1}."),
    (r"branch2\.(\d)\.", "c.conv{1}."),
    *HEAD,
)
XCEPTION: Dialect = (
    (r"^conv([12])$", "conv{1}.conv"),
    (r"^bn([12])$", "conv{1}.norm"),
    (r"^conv([34])\.conv1$", "exit{1-1}.depthwise.conv"),
    (r"^conv([34])\.pointwise$", "exit{1-1}.project.conv"),
    (r"^bn([34])$", "exit{1-1}.project.norm"),
    (r"^block1\.rep\.0\.", "entry1.conv1."),
    (r"^block1\.rep\.1$", "entry1.conv1.project.norm"),
    (r"^block1\.rep\.3\.", "entry1.conv2."),
    (r"^block1\.rep\.4$", "entry1.conv2.project.norm"),
    (r"^block([123])\.", "entry{1}."),
    (r"^block12\.", "exit1."),
    (r"^block(\d+)\.", "middle.block{1-3}."),
    (r"\.skip$", ".shortcut.conv"),
    (r"\.skipbn$", ".shortcut.norm"),
    (r"\.rep\.1\.", ".conv1."),
    (r"\.rep\.4\.", ".conv2."),
    (r"\.rep\.7\.", ".conv3."),
    (r"\.rep\.2$", ".conv1.project.norm"),
    (r"\.rep\.5$", ".conv2.project.norm"),
    (r"\.rep\.8$", ".conv3.project.norm"),
    (r"\.conv(\d)\.conv1$", ".conv{1}.depthwise.conv"),
    (r"\.conv(\d)\.pointwise$", ".conv{1}.project.conv"),
    *HEAD,
)
SEPARABLE: Dialect = (
    (r"\.conv_dw$", ".depthwise.conv"),
    (r"\.bn1$", ".depthwise.norm"),
    (r"\.conv_pw$", ".project.conv"),
    (r"\.bn2$", ".project.norm"),
)
INVERTED: Dialect = (
    (r"\.conv_pw$", ".expand.conv"),
    (r"\.bn1$", ".expand.norm"),
    (r"\.conv_dw$", ".depthwise.conv"),
    (r"\.bn2$", ".depthwise.norm"),
    (r"\.conv_pwl$", ".project.conv"),
    (r"\.bn3$", ".project.norm"),
    (r"\.se\.conv_reduce$", ".squeeze_excite.squeeze.conv"),
    (r"\.se\.conv_expand$", ".squeeze_excite.excite.conv"),
)


def inverted(stem: str, stage: str, first: int, last: str) -> Dialect:
    """MobileNetV2 and EfficientNet in timm: the first stage does not expand, so there conv_pw is the projection."""
    without = tuple((rf"^blocks\.0\.(\d+){old}", f"{stage}{first}.block{{1+1}}{new}") for old, new in SEPARABLE)
    return (
        (r"^conv_stem$", f"{stem}.conv"),
        (r"^bn1$", f"{stem}.norm"),
        *without,
        (r"^blocks\.0\.(\d+)\.", f"{stage}{first}.block{{1+1}}."),
        (r"^blocks\.(\d)\.(\d+)\.", f"{stage}{{1+{first}}}.block{{2+1}}."),
        *INVERTED,
        (r"^conv_head$", f"{last}.conv"),
        (r"^bn2$", f"{last}.norm"),
        *HEAD,
    )


TFLITE_MOBILENET: Dialect = (
    (r"^conv0$", "conv1.conv"),
    (r"^dw(\d+)$", "conv{1+1}.depthwise.conv"),
    (r"^pw(\d+)$", "conv{1+1}.project.conv"),
    *HEAD,
)
MOBILENET: Dialect = (
    (r"^conv_stem$", "conv1.conv"),
    (r"^bn1$", "conv1.norm"),
    (r"^blocks\.0\.0\.", "conv2."),
    (r"^blocks\.1\.(\d)\.", "conv{1+3}."),
    (r"^blocks\.2\.(\d)\.", "conv{1+5}."),
    (r"^blocks\.3\.(\d)\.", "conv{1+7}."),
    (r"^blocks\.4\.(\d)\.", "conv{1+13}."),
    *SEPARABLE,
    *HEAD,
)
NASNET: Dialect = (
    (r"\.bn$", ".norm"),
    (r"\.final_path_bn$", ".previous.norm"),
    (r"^conv0\.", "conv1."),
    (r"^cell_stem_(\d)\.", "cells.stem{1+1}."),
    (r"^reduction_cell_(\d)\.", "cells.reduction{1+1}."),
    (r"^cell_([0-5])\.", "cells.normal1_{1+1}."),
    (r"^cell_([6-9]|10|11)\.", "cells.normal2_{1-5}."),
    (r"^cell_(\d+)\.", "cells.normal3_{1-11}."),
    (r"\.conv_prev_1x1\.", ".previous."),
    (r"\.conv_1x1\.", ".current."),
    (r"\.path_1\.conv$", ".previous.even"),
    (r"\.path_2\.conv$", ".previous.odd"),
    (r"\.comb_iter_(\d)_(left|right)\.", ".row{1+1}.{2}."),
    (r"\.separable_(\d)\.depthwise_conv2d$", ".depthwise{1}.conv"),
    (r"\.separable_(\d)\.pointwise_conv2d$", ".pointwise{1}.conv"),
    (r"\.bn_sep_(\d)$", ".pointwise{1}.norm"),
    *HEAD,
)
DIALECTS: dict[str, tuple[Dialect, ...]] = {
    "densenet": (DENSENET,),
    "efficientnet": (inverted("stage1", "stage", 2, "stage9"),),
    "googlenet": (GOOGLENET,),
    "inception_resnet_v2": (INCEPTION_RESNET,),
    "inception_v3": (INCEPTION,),
    "mobilenet": (MOBILENET, TFLITE_MOBILENET),
    "mobilenet_v2": (inverted("conv1", "bottleneck", 1, "conv9"),),
    "nasnet": (NASNET,),
    "resnet": ((*RESNET, *BASIC), (*RESNET, *BOTTLENECK)),
    "resnet_v2": (PREACTIVATION,),
    "xception": (XCEPTION,),
}


def rewrite(name: str, dialect: Dialect) -> str:
    """A layer's name in our words.

    >>> rewrite("layer3.0.conv2", DIALECTS["resnet"][1])
    'conv4_x.block1.conv.conv'
    """
    for pattern, replacement in dialect:
        name = re.sub(pattern, lambda match, words=replacement: _filled(words, match), name)  # type: ignore[misc]
    return name


def _filled(words: str, match: re.Match[str]) -> str:
    def number(slot: re.Match[str]) -> str:
        group, offset = match.group(int(slot[1])), slot[2]
        return str(int(group) + int(offset)) if offset else group

    return re.sub(r"\{(\d)([+-]\d+)?\}", number, words)
