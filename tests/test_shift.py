"""How far pictures lie from pretraining is told truly, and adapting to them does what it says and no more."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

import convista
from conftest import json_of, make_photos
from convista.data import Normalise, Pictures, eval_view, open_source, prepare
from convista.errors import DataError, InputError, UnknownNameError
from convista.records import View
from convista.transfer import (
    Pretrained,
    Trunk,
    Views,
    adapted,
    classified,
    evidence,
    features_of,
    fingerprint,
    pretrained,
    shift,
)
from convista.transfer.effect import Effect, Shifted
from convista.transfer.shift import Shift, measured_norms, pretraining

VIEW = View(24, 24, 3, (0.3, 0.3, 0.3), (0.2, 0.2, 0.2))
CPU = torch.device("cpu")


def stem() -> nn.Module:
    """Two layers of batch normalisation that have seen noise of mean 0 and deviation 1."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU()),
        nn.Sequential(nn.Conv2d(8, 4, 3), nn.BatchNorm2d(4)),
        nn.Sequential(nn.Dropout(0.5), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)),
    )
    for _ in range(40):
        net.train()(torch.randn(16, 3, 24, 24))
    return net.eval()


def base(net: nn.Module | None = None) -> Pretrained:
    return Pretrained(net or stem(), VIEW, "stem", "stem", None)


def pictures(folder: Path) -> Pictures:
    return prepare(open_source(folder), 24, 3, 0, None).splits["train"]


def changed(part: Pictures, change: Callable[[Any], Any]) -> Pictures:
    """The same pictures with other bytes."""
    pixels = np.stack([part[i] for i in range(len(part))]).astype(np.float64)
    return replace(part, cached=change(pixels).clip(0, 255).round().astype(np.uint8), rows=np.arange(len(part)))


def noise(part: Pictures, mean: float = 0.3, std: float = 0.2, seed: int = 1) -> Pictures:
    """Pictures as the network's pretraining had them."""
    rng = np.random.default_rng(seed)
    return changed(part, lambda pixels: 255 * (mean + std * rng.standard_normal(pixels.shape)))


def test_the_distance_is_hellinger_s_between_normal_distributions(photos: Path) -> None:
    part, begin = pictures(photos), base()
    found = shift(begin, part)
    given: dict[str, list[torch.Tensor]] = {}
    norms = {name: module for name, module in begin.net.named_modules() if isinstance(module, _BatchNorm)}
    for name, norm in norms.items():
        norm.register_forward_pre_hook(lambda _, x, name=name: given.setdefault(name, []).append(x[0].double()))
    with torch.no_grad():
        for i in range(len(part)):
            begin.net(Normalise.of(VIEW, CPU)(eval_view(part, np.array([i]), VIEW)[0]))
    squares = []
    for name, norm in norms.items():
        x = torch.cat(given[name]).transpose(0, 1).flatten(1)
        per_channel = []
        for c in range(len(x)):
            m0, v0 = float(norm.running_mean[c]), float(norm.running_var[c]) + norm.eps
            m, v = float(x[c].mean()), float(x[c].var(correction=0)) + norm.eps
            t = np.linspace(min(m, m0) - 12, max(m, m0) + 12, 200_001)
            p, q = (np.exp(-((t - a) ** 2) / (2 * b)) / np.sqrt(2 * np.pi * b) for a, b in ((m, v), (m0, v0)))
            per_channel.append(0.5 * np.trapezoid((np.sqrt(p) - np.sqrt(q)) ** 2, t))
        squares.append(np.mean(per_channel))
    assert [name for name, _ in found.stages] == ["0", "1"]
    assert [far for _, far in found.stages] == pytest.approx(np.sqrt(squares), abs=1e-3)
    assert found.distance == pytest.approx(np.sqrt(np.mean(squares)), abs=1e-3)


def test_pictures_like_those_of_pretraining_are_near_and_others_are_not(photos: Path) -> None:
    part, begin = pictures(photos), base()
    like, dim, black = (shift(begin, p) for p in (noise(part), noise(part, 0.1, 0.05), changed(part, np.zeros_like)))
    assert like.word == "near"
    near, dimmer, far = (found.distance or 0 for found in (like, dim, black))
    assert 0 < near < dimmer < far <= 1
    assert (dim.word, black.word) == ("far", "far")
    assert like.channels[0].mean == pytest.approx(0.3, abs=0.02)
    assert (like.channels[0].pretrained_mean, like.channels[0].pretrained_std) == (0.3, 0.2)


def test_telling_the_distance_changes_nothing_and_looks_at_no_more_than_asked(photos: Path) -> None:
    part, begin = pictures(photos), base()
    begin.net.train()
    begin.net[0].eval()
    before, modes = fingerprint(begin.net), [module.training for module in begin.net.modules()]
    assert shift(begin, part, most=5).pictures == 5
    assert shift(begin, part) == shift(begin, part)
    assert fingerprint(begin.net) == before
    assert [module.training for module in begin.net.modules()] == modes
    assert not any(module._forward_pre_hooks for module in begin.net.modules())


@pytest.mark.parametrize("kind", ["none", "folded", "fresh"])
def test_a_network_without_statistics_of_pretraining_says_so(kind: str, photos: Path) -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.Identity() if kind == "none" else nn.BatchNorm2d(8), nn.Flatten())
    if kind == "folded":
        net[1].running_var.fill_(1 - net[1].eps)
        net[1].running_mean.normal_()
    begin, part = base(nn.Sequential(net, nn.LazyLinear(3))), pictures(photos)
    found = shift(begin, part)
    assert (found.distance, found.stages, found.word) == (None, (), "unknown")
    assert len(found.channels) == 3
    assert "keeps no statistics" in str(found)
    with pytest.raises(InputError, match="--adapt pixels is for all networks"):
        adapted(begin, part, "norms")


def test_pixels_look_afterwards_as_those_of_pretraining_did(photos: Path) -> None:
    part = changed(pictures(photos), lambda pixels: 40 + pixels / 5)
    begin = base()
    fitted = adapted(begin, part, "pixels")
    seen = Normalise.of(fitted.view, CPU)(eval_view(part, np.arange(len(part)), fitted.view)[0])
    assert seen.mean((0, 2, 3)).numpy() == pytest.approx(0, abs=0.01)  # the view's are the pretraining's own
    assert seen.std((0, 2, 3)).numpy() == pytest.approx(1, abs=0.01)
    assert fitted.net is begin.net


def test_pixels_keep_the_units_that_weights_ask_for(photos: Path) -> None:
    """Weights for pixels of -1..1 see ImageNet's mean and deviation in these units, not 0 and 1."""
    part = pictures(photos)
    scaled = replace(base(), view=View(24, 24, 3, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)))
    mean, std = (np.array(values) for values in pretraining(scaled.view))
    assert (mean != 0.5).all()
    assert (std < 0.3).all()
    fitted = adapted(scaled, part, "pixels")
    seen = Normalise.of(fitted.view, CPU)(eval_view(part, np.arange(len(part)), fitted.view)[0])
    assert seen.mean((0, 2, 3)).numpy() == pytest.approx((mean - 0.5) / 0.5, abs=0.01)
    assert seen.std((0, 2, 3)).numpy() == pytest.approx(std / 0.5, abs=0.01)


def test_norms_take_their_statistics_from_the_pictures_and_nothing_else_changes(photos: Path) -> None:
    part, begin = noise(pictures(photos), 0.1, 0.05), base()
    before = fingerprint(begin.net)
    fitted = adapted(begin, part, "norms")
    assert fingerprint(begin.net) == before
    assert not any(module.training for module in fitted.net.modules())
    assert all(torch.equal(a, b) for a, b in zip(begin.net.parameters(), fitted.net.parameters(), strict=True))
    after, was = shift(fitted, part).distance, shift(begin, part).distance
    assert (after or 1) < 0.05 < (was or 0)
    assert fingerprint(adapted(begin, part, "norms").net) == fingerprint(fitted.net)


def test_none_is_the_network_itself_and_other_words_are_refused(photos: Path) -> None:
    begin, part = base(), pictures(photos)
    assert adapted(begin, part, "none") is begin
    with pytest.raises(UnknownNameError, match="Did you mean norms"):
        adapted(begin, part, "norm")


def test_a_gain_is_judged_picture_by_picture(photos: Path) -> None:
    part = pictures(photos)
    one, other = evidence(base(), part, CPU), evidence(base(), part, CPU)
    assert one.gain(other) == (0, 0)
    assert 0 <= one.top1 <= 1
    assert one.error == pytest.approx(np.sqrt(one.top1 * (1 - one.top1) / len(part)))
    better = replace(other, right=np.zeros(len(part), bool))
    gain, error = one.gain(better)
    assert gain == one.top1
    assert error == pytest.approx(one.right.std() / np.sqrt(len(part)))


def test_advice_takes_only_what_is_no_chance() -> None:
    near = Shift(8, (), (), 0.01)

    def advice(gain: float, error: float) -> str:
        effects = (Effect("none", 0.5, 0.1, 0, 0), Effect("norms", 0.5 + gain, 0.1, gain, error))
        return Shifted("m", "d", near, effects, 100, 0.5).advice

    assert advice(0.05, 0.01) == "take --adapt norms: +5.0 ± 1.0 points of 100 pictures"
    assert advice(0.05, 0.03).startswith("leave it as it is")
    assert advice(-0.05, 0.01).startswith("leave it as it is")
    assert advice(0, 0).startswith("leave it as it is")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that has seen digits."""
    folder = tmp_path_factory.mktemp("pretrained")
    convista.train("digits", model="resnet20", channels=3, image=8, epochs=1, limit=100, out=folder / "run")
    return folder / "run"


def test_the_verb_measures_each_adaptation(photos: Path, run: Path) -> None:
    found = convista.shift(run, photos)
    assert [effect.how for effect in found.effects] == ["none", "pixels", "norms"]
    assert found.pictures == 36
    assert found.floor == pytest.approx(1 / 3)
    assert found.best in ("none", "pixels", "norms")
    assert found.advice in str(found)
    told = json.loads(json.dumps(found.to_json()))
    assert told["shift"]["distance"] == found.shift.distance
    assert told["advice"] == found.advice


def test_the_verb_tells_the_distance_where_there_are_no_classes(photos: Path, run: Path, tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    for i, path in enumerate(sorted(photos.rglob("*.*"))[:5]):
        (flat / f"{i}{path.suffix}").write_bytes(path.read_bytes())
    found = convista.shift(run, flat)
    assert found.effects == ()
    assert found.shift.distance is not None
    assert "was not measured: There is no class folder" in found.advice
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError):
        convista.shift(run, tmp_path / "empty")


def test_pictures_are_picked_by_content_equally_and_copies_count_once(photos: Path) -> None:
    (photos / "red" / "copy.jpg").write_bytes((photos / "red" / "000.jpg").read_bytes())
    (photos / "blue" / "stray.jpg").write_bytes((photos / "red" / "002.jpg").read_bytes())
    whole, bad = classified(open_source(photos), VIEW, 1000)
    assert len(whole) == 35
    assert len(bad) == 2
    part, _ = classified(open_source(photos), VIEW, 9)
    assert np.bincount(part.targets).tolist() == [3, 3, 3]
    assert {p.path for p in part.pictures} <= {p.path for p in whole.pictures}


@pytest.mark.parametrize(
    ("classes", "each", "said"), [(("red",), 3, "one class only"), (("red", "green"), 1, "one usable picture only")]
)
def test_pictures_that_cannot_be_judged_on_are_refused(
    classes: tuple[str, ...], each: int, said: str, tmp_path: Path
) -> None:
    make_photos(tmp_path / "few", classes, each)
    with pytest.raises(DataError, match=said):
        classified(open_source(tmp_path / "few"), VIEW, 100)


def test_the_command_prints_one_object(photos: Path, run: Path, convista: Any) -> None:
    told = json_of(convista("shift", run, photos, "--json"))
    assert set(told) >= {"model", "shift", "effects", "floor", "word", "best", "advice"}
    wrong = convista("shift", run, photos, "--limit", 2)
    assert wrong.returncode == 2
    assert "at least 4" in wrong.stderr


@pytest.mark.parametrize("how", ["pixels", "norms"])
def test_what_was_adapted_is_what_the_run_has(how: str, photos: Path, run: Path, tmp_path: Path) -> None:
    file = run / "model.safetensors"
    words = {"from_": "resnet20", "weights": file} if how == "norms" else {"from_": run}
    made = convista.train(photos, adapt=how, epochs=2, augment="none", out=tmp_path / "run", **words)
    plain = pretrained("resnet20", str(file)) if how == "norms" else pretrained(str(run))
    assert made.info["from"]["adapt"] == how
    assert convista.eval(made).top1 == made.test.top1
    assert (made.view != plain.view) == (how == "pixels")
    norms, before = measured_norms(made.net), measured_norms(plain.net)
    same = [torch.equal(norms[name].running_mean, norm.running_mean) for name, norm in before.items()]
    assert not any(same) if how == "norms" else all(same)
    with pytest.raises(UnknownNameError, match="adaptation"):
        convista.train(photos, adapt="all", out=tmp_path / "other", **words)
    assert not (tmp_path / "other").exists()


def test_features_of_an_adapted_network_are_kept_apart(photos: Path, run: Path) -> None:
    plain = convista.features(run, photos, layer="conv2_x")
    fitted = convista.features(run, photos, layer="conv2_x", adapt="norms")
    assert fitted.computed == len(fitted.paths)
    assert not np.array_equal(plain.features, fitted.features)
    assert convista.features(run, photos, layer="conv2_x", adapt="norms").computed == 0
    begin = pretrained(str(run))
    part = prepare(open_source(photos), begin.view.stored, 3, 0, None).splits["train"]
    other = adapted(begin, part, "pixels")
    ours, theirs = (features_of(Trunk(b.net, b.view, CPU), part, Views(), None).values for b in (begin, other))
    assert not np.array_equal(ours, theirs)


def test_adapt_without_a_pretrained_network_is_refused(photos: Path) -> None:
    with pytest.raises(InputError, match="--adapt norms was given without --from"):
        convista.train(photos, adapt="norms")
    with pytest.raises(UnknownNameError, match="Did you mean"):
        convista.features("resnet20", photos, adapt="norm", weights="nowhere")


def test_the_recipe_of_weather_shows_what_it_says() -> None:
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from recipes import shift as recipe

    assert isinstance(recipe, ModuleType)
    table = recipe.measured(seeds=(0,), epochs=1, limit=100)
    assert set(table) == {(net, sky, cure) for net in recipe.NETS for sky in recipe.SKIES for cure in recipe.CURES[net]}
    assert all(0 <= top1 <= 1 for figures in table.values() for top1, _ in figures)
    assert "n = 1" in recipe.text(table)
