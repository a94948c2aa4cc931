"""The README is true: its examples run in order, and print what it says (numbers apart)."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest

README = (Path(__file__).parent.parent / "README.md").read_text()
BLOCK = re.compile(r"```(console|python|text)\n(.*?)```", re.DOTALL)


def shape(text: str) -> list[str]:
    """Lines with every number replaced and blanks squeezed, sorted: times, scores and the two streams' order vary.

    What a slow machine says within an epoch is left out.
    """
    lines = (re.sub(r"\s+", " ", re.sub(r"\d[\d,.]*", "#", line)).strip() for line in text.splitlines())
    return sorted(line for line in lines if line and not line.endswith("left"))


def scores(text: str) -> list[float]:
    """The test scores in an output."""
    return [
        float(x) for line in text.splitlines() if line.startswith("test:") for x in re.findall(r"top-1 ([\d.]+)", line)
    ]


def console(body: str, folder: Path) -> None:
    command, _, expected = body.partition("\n")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", command.removeprefix("$ ")],
        cwd=folder,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    assert shape(done.stdout + done.stderr) == shape(expected), command
    assert scores(done.stdout) == pytest.approx(scores(expected), abs=0.03)


def test_the_tour_runs_and_prints_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    printed = ""
    for kind, body in BLOCK.findall(README):
        if kind == "console":
            console(body, tmp_path)
        elif kind == "python":
            with redirect_stdout(io.StringIO()) as out:
                exec(compile(body, "README.md", "exec"), names)
            printed = out.getvalue()
        else:
            assert printed == body


def test_the_commands_that_are_not_run_have_real_options() -> None:
    told = "".join(
        subprocess.run([sys.executable, "-m", "convista", verb, "--help"], capture_output=True, text=True).stdout
        for verb in set(re.findall(r"convista ([a-z][a-z-]+)", README))
    )
    for option in set(re.findall(r"(?<= )--[a-z-]+", README)) - {"--nproc-per-node", "--help"}:
        assert option in told, option
