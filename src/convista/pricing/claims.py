"""What courses teach about the price of convolutions, each claim beside what counting gives."""

from __future__ import annotations

from dataclasses import dataclass

from convista.blocks import IN, Block, Branches, Chain, Conv, Pool
from convista.pricing.count import cost

__all__ = ["Claim", "claims"]


@dataclass(frozen=True)
class Claim:
    """A claim, the formula behind it, the figure as it is taught, the figure as counted, and what to think of it."""

    subject: str
    formula: str
    taught: str
    counted: str
    right: bool
    remark: str = ""


def claims() -> list[Claim]:
    """All of them, counted anew on networks and blocks of the package."""
    return [_first_dense(), _stack(), _narrow(), _separable(), *_reduced_5x5(), *_inception()]


def _bare(width: object, kernel: int, **words: object) -> Conv:
    """A convolution and nothing else."""
    return Conv(width, kernel, norm=None, act=None, bias=False, **words)  # type: ignore[arg-type]


def _macs(block: Block, *image: int) -> int:
    return cost(block, image).macs


def _params(block: Block, *image: int) -> int:
    return cost(block, image).params


def _first_dense() -> Claim:
    row = next(row for row in cost("vgg16").rows if row.name == "fc6.linear")
    weights = row.macs
    return Claim(
        "Weights of VGG's first fully connected layer", "7 x 7 x 512 x 4096", "102,760,448", f"{weights:,}",
        weights == 102_760_448, f"And 4,096 biases: {row.params:,} parameters, three quarters of VGG-16.",
    )  # fmt: skip


def _stack(c: int = 64) -> Claim:
    one = _params(_bare(c, 7), c, 56, 56)
    three = _params(Chain(a=_bare(c, 3), b=_bare(c, 3), c=_bare(c, 3)), c, 56, 56)
    return Claim(
        "A 7x7 convolution against three of 3x3", "49 C^2 against 27 C^2", "49 and 27",
        f"{one / c**2:g} and {three / c**2:g}", (one, three) == (49 * c**2, 27 * c**2),
        "For C channels in and out. On a picture's 3 channels three 3x3 cost more: convista cost resnet18 "
        "--what-if kernel7=3x3x3.",
    )  # fmt: skip


def _narrow(c: int = 64) -> Claim:
    full = _params(_bare(c, 3), c, 56, 56)
    narrow = _params(Chain(reduce=_bare(c // 2, 1), conv=_bare(c // 2, 3), expand=_bare(c, 1)), c, 56, 56)
    return Claim(
        "A 3x3 convolution against a bottleneck of half the width", "9 C^2 against (1/2 + 9/4 + 1/2) C^2",
        "9 and 3.25", f"{full / c**2:g} and {narrow / c**2:g}", (full, narrow) == (9 * c**2, 3.25 * c**2),
    )  # fmt: skip


def _separable(n: int = 512, k: int = 5) -> Claim:
    full = _macs(_bare(n, k), n, 14, 14)
    parts = _macs(Chain(depthwise=_bare(IN, k, groups=IN), project=_bare(n, 1)), n, 14, 14)
    return Claim(
        f"A depthwise separable {k}x{k} convolution to {n} channels", "1/N + 1/k^2", "4.2 %",
        f"{100 * parts / full:.3f} %", round(100 * parts / full, 1) == 4.2,
    )  # fmt: skip


def _reduced_5x5() -> list[Claim]:
    full, reduced = _bare(32, 5), Chain(reduce=_bare(16, 1), conv=_bare(32, 5))
    direct, narrow, weights = _macs(full, 192, 28, 28), _macs(reduced, 192, 28, 28), _params(full, 192, 28, 28)
    return [
        Claim(
            "A 5x5 convolution of 28 x 28 x 192 to 32 channels", "28 x 28 x 32 x 5 x 5 x 192",
            "over 100 million parameters", f"{direct:,} multiply-accumulates", weights > 100e6,
            f"These are multiplications, not parameters: of those it has {weights:,}.",
        ),
        Claim(
            "The same behind a 1x1 convolution to 16 channels", "28 x 28 x (16 x 192 + 32 x 5 x 5 x 16)",
            "12.5 million", f"{narrow:,} multiply-accumulates", abs(narrow - 12.5e6) < 1e5,
            f"{direct / narrow:.2f} times fewer.",
        ),
    ]  # fmt: skip


def _inception() -> list[Claim]:
    naive = Branches(a=_bare(128, 1), b=_bare(192, 3), c=_bare(96, 5), pool=Pool(3, 1))
    branches = {
        "a": _bare(128, 1),
        "b": Chain(reduce=_bare(64, 1), conv=_bare(192, 3)),
        "c": Chain(reduce=_bare(64, 1), conv=_bare(96, 5)),
        "pool": Chain(pool=Pool(3, 1), project=_bare(64, 1)),
    }
    second = _macs(_bare(192, 3), 64, 28, 28)
    before, after = _macs(naive, 256, 28, 28), _macs(Branches(**branches), 256, 28, 28)
    return [
        Claim(
            "A naive inception module on 28 x 28 x 256 (128 of 1x1, 192 of 3x3, 96 of 5x5)",
            "28 x 28 x 256 x (128 + 9 x 192 + 25 x 96)", "854 million", f"{before:,} multiply-accumulates",
            round(before / 1e6) == 854,
        ),
        Claim(
            "The same with 1x1 convolutions to 64 channels in front of 3x3 and 5x5 and behind the pooling",
            "28 x 28 x (256 x (128 + 3 x 64) + 64 x (9 x 192 + 25 x 96))", "358 million",
            f"{after:,} multiply-accumulates", round(after / 1e6) == 358,
            f"358 million is {after:,} + {second:,}: the 3x3 branch seems to have been counted twice.",
        ),
    ]  # fmt: skip
