"""A pretrained network brought nearer to the user's pictures without learning: by its pixels, or by its statistics."""

from __future__ import annotations

import copy
from dataclasses import replace

import torch

from convista.data import Pictures, channel_statistics
from convista.errors import InputError, UnknownNameError
from convista.feature_recipes import ADAPT_NAMES
from convista.records import View
from convista.training import recalibrate
from convista.transfer.pretrained import Pretrained
from convista.transfer.shift import measured_norms, pretraining

__all__ = ["adapted", "check_adaptation"]


def adapted(base: Pretrained, pictures: Pictures, how: str, device: torch.device | None = None) -> Pretrained:
    """The network with one of its two normalisations fitted to pictures, whose classes play no part; `base` stays.

    `pixels`: each channel is shifted and scaled so that the pictures' mean and deviation become those of pretraining.
    `norms`: batch normalisation takes its statistics from the pictures (AdaBN, Li et al. 2016). `none` changes nothing.
    Raises `UnknownNameError`, and `InputError` where the network keeps no statistics or there is one picture only.
    """
    check_adaptation(how)
    if how == "none":
        return base
    if how == "pixels":
        return replace(base, view=_fitted(base.view, *channel_statistics(pictures)))
    if not measured_norms(base.net):
        raise InputError(
            f"--adapt norms was given, but {base.model} keeps no statistics of its pretraining: it has no batch "
            "normalisation, or one that is folded into its convolutions. --adapt pixels is for all networks."
        )
    if len(pictures) < 2:
        raise InputError("--adapt norms was given, but statistics cannot be measured on one picture.")
    net, device = copy.deepcopy(base.net), device or next(base.net.parameters()).device
    recalibrate(net.to(device), pictures, base.view, device)
    return replace(base, net=net.eval(), norms=True)


def check_adaptation(how: str) -> None:
    """Raises `UnknownNameError` for what is none."""
    if how not in ADAPT_NAMES:
        raise UnknownNameError("adaptation", how, ADAPT_NAMES)


def _fitted(view: View, mean: tuple[float, ...], std: tuple[float, ...]) -> View:
    """The view by which pictures of this mean and deviation look as those of pretraining do by `view`.

    Where `view` has pretraining's own statistics, it is the one with the pictures' own.
    """
    channels = list(zip(mean, std, *pretraining(view), view.mean, view.std, strict=True))
    return replace(
        view,
        mean=tuple(round(m + s / s0 * (shown - m0), 4) for m, s, m0, s0, shown, _ in channels),
        std=tuple(s / s0 * unit for _, s, _, s0, _, unit in channels),
    )
