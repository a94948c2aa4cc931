"""Shared by all tests: pictures that are made on the spot, and a way to call the command."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image


def picture(hue: int, seed: int, size: tuple[int, int] = (40, 36)) -> Image.Image:
    """Noise around a colour: easy to tell apart, and no two alike."""
    noise = np.random.default_rng(seed).integers(0, 60, (*size[::-1], 3))
    base = np.array([200 if channel == hue % 3 else 40 for channel in range(3)])
    return Image.fromarray((noise + base).clip(0, 255).astype(np.uint8))


def make_photos(root: Path, classes: tuple[str, ...] = ("red", "green", "blue"), each: int = 12) -> Path:
    """A folder per class with `each` small pictures, PNG and JPEG in turn."""
    for hue, label in enumerate(classes):
        (root / label).mkdir(parents=True)
        for i in range(each):
            picture(hue, 1000 * hue + i).save(root / label / f"{i:03d}.{'png' if i % 2 else 'jpg'}")
    return root


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three easy classes of twelve pictures."""
    return make_photos(tmp_path / "photos")


Call = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def convista(tmp_path: Path) -> Call:
    """Runs the command in a process of its own, in `tmp_path`."""

    def call(*words: object, **options: Any) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "convista", *map(str, words)]
        return subprocess.run(command, cwd=tmp_path, text=True, capture_output=True, timeout=300, **options)

    return call


def json_of(done: subprocess.CompletedProcess[str]) -> Any:
    """The one object on stdout."""
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="session")
def script_of_docs() -> Callable[[str], ModuleType]:
    """Loads a script of docs/ as a module."""

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[1] / "docs" / f"{name}.py")
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        return module

    return load
