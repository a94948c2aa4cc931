"""Figures and pages hold for one epoch, many classes, and numbers that are none."""

from __future__ import annotations

import base64
import io
import math
import re

import numpy as np
import pytest
from PIL import Image

import convista
from convista.recipe import Recipe
from convista.records import Epoch
from convista.reports import Material, render
from convista.reports.figures import curves, filter_sheet, heat_map
from convista.reports.losses import judged_terms, loss_terms
from convista.see import first_filters
from convista.training import score


def picture_of(address: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(address.split(",")[1])))


def material(classes: int) -> Material:
    labels = tuple(f"class {i}" for i in range(classes))
    random = np.random.default_rng(0)
    found = score(
        random.normal(size=(300, classes)), random.integers(0, classes, 300), labels, np.ones(classes) / classes
    )
    history = [Epoch(1, 0.1, 2.0, 0.2, math.nan, 0.3, 0.6, 100.0, 3.0)]
    info = {
        "name": "many", "created": "2026-01-01", "splits": {"train": 900, "val": 90, "test": 300}, "seconds": 3.0,
        "epochs": 1, "best_epoch": 1, "bad_files": [{"path": f"{i}", "reason": "not a picture"} for i in range(5000)],
        "notes": {"turned upright by EXIF": 2}, "command": "convista train many", "fingerprint": "f", "versions": {},
        "recipe": {"model": "resnet18", "flip": True, "label_smoothing": 0.1},
    }  # fmt: skip
    net = convista.create("resnet18", classes=classes)
    return Material(info, history, convista.cost(net.spec), found, found, first_filters(net), [])


@pytest.mark.parametrize("classes", [2, 30, 1000])
def test_a_page_stays_small_whatever_it_shows(classes: int) -> None:
    page = render(material(classes))
    assert len(page) < 3_000_000
    assert "5000 x not a picture" in page
    assert "There is none: every test picture is named rightly." in page
    assert ('<table class="confusion">' in page) == (classes == 2)


def test_curves_show_what_is_finite() -> None:
    svg = curves({"train": [2.0, 1.0, 0.5], "val": [2.5, math.nan, 1.0]}, "loss")
    assert svg.count("<polyline") == 2
    assert "nan" not in svg
    assert "nan" not in curves({"train": [math.inf], "val": [math.nan]}, "loss")
    assert curves({"train": [1.0], "val": [1.0]}, "loss").count("<circle") == 2


def test_one_curve_that_went_astray_does_not_flatten_the_others() -> None:
    lines = {"a": [2.0, 1.0], "b": [2.5, 1.5], "c": [2.1, 1e9]}
    assert ">25</text>" in curves(lines, "loss")
    assert "e+09" not in curves(lines, "loss")
    assert "1e+09</text>" in curves({"c": lines["c"]}, "loss")


def test_filters_are_grey_where_they_are_zero() -> None:
    net = convista.create("lenet5")
    net.c1.conv.weight.data.zero_()
    net.c1.conv.weight.data[0, 0, 0, 0] = -3.0
    filters = first_filters(net)
    assert filters.shape == (6, 5, 5, 1)
    assert filters[0, 0, 0, 0] == 0
    assert (filters[1:] == 128).all()
    sheet = picture_of(filter_sheet(filters))
    assert sheet.size == (6 * 6 - 1, 5)


def test_a_heat_map_is_dark_where_the_pictures_go() -> None:
    pixels = np.asarray(picture_of(heat_map(np.array([[9, 1], [0, 4]]))))
    assert pixels[1, 1] == 0
    assert pixels[1, 0] == 255
    assert 0 < pixels[0, 0] < pixels[0, 1] < 255


def test_the_legend_says_what_the_training_loss_has_that_the_validations_has_not() -> None:
    recipe = Recipe.of(focal=2, mixup=0.2, class_weights=True, dropout=0.1, ema=0.999, views=2).to_json()
    told = ["changed pictures: crop", "label smoothing 0.1", "focal loss, gamma 2", "mixup 0.2", "class weights",
            "dropout 0.1"]  # fmt: skip
    assert loss_terms(recipe, "crop") == told
    assert loss_terms(recipe, "none", head=True) == ["mixup 0.2", "dropout 0.1"]
    assert judged_terms(recipe) == ["running average of the weights, decay 0.999", "2 views of each picture"]
    plain = material(2)
    assert "not the same measure" in render(plain)
    plain.info["recipe"] |= {"label_smoothing": 0.0}
    assert "not the same measure" not in render(plain)


def test_a_page_shows_no_values_of_python() -> None:
    shown = material(2)
    shown.info["recipe"] = Recipe.of(class_weights=True).to_json()
    page = render(shown)
    assert not re.search(r">(None|True|False)<", page)
    assert '<td>class_weights</td><td class="text">on</td>' in page
