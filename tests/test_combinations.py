"""The promises of the main job, with options switched on at random: resuming, any number of processes, bad losses."""

from __future__ import annotations

import math
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
from combinations import drawn, few_digits, job_of

from convista.data import Prepared
from convista.errors import InterruptedRunError
from convista.training import Console

MANY = 40 if os.environ.get("CONVISTA_TEST_ALL") else 5


@pytest.fixture(scope="module")
def digits() -> Prepared:
    return few_digits()


@pytest.mark.parametrize(("number", "fixed"), [*((i, {}) for i in range(MANY)), (77, {"precision": "fp16"})])
def test_any_recipe_resumes_bit_for_bit(
    digits: Prepared, tmp_path: Path, number: int, fixed: dict[str, object]
) -> None:
    recipe, after = drawn(number, **fixed), random.Random(number).randrange(1, 9)
    whole = job_of(digits, recipe, tmp_path / "whole")
    whole.run()
    stopped = job_of(digits, recipe, tmp_path / "stopped")
    asked = iter([False] * after + [True] * 100)
    stopped.console = Console(stopped=lambda: next(asked))
    with pytest.raises(InterruptedRunError):
        stopped.run()
    resumed = job_of(digits, recipe, tmp_path / "stopped")
    resumed.load()
    resumed.run()
    for ours, theirs in ((resumed.net, whole.net), (resumed.kept, whole.kept)):
        expected = theirs.state_dict()
        assert all(torch.equal(value, expected[key]) for key, value in ours.state_dict().items())
    assert [(r.train_loss, r.val_loss) for r in resumed.state.history] == [
        (r.train_loss, r.val_loss) for r in whole.state.history
    ]
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("stopped", "whole")]
    assert weights[0] == weights[1]


@pytest.mark.parametrize("number", range(100, 100 + MANY))
def test_any_recipe_survives_a_loss_that_is_not_a_number(digits: Prepared, tmp_path: Path, number: int) -> None:
    job, said = job_of(digits, drawn(number), tmp_path / "run"), []
    job.console = Console(say=said.append)
    bad, honest, calls = random.Random(number).randrange(2, 9), job.objective, iter(range(1000))
    job.objective = lambda *args: honest(*args) * (math.nan if next(calls) == bad else 1.0)  # type: ignore[assignment]
    history = job.run()
    assert job.state.strikes == 1
    assert any("the loss is not a number" in text for text in said)
    assert all(torch.isfinite(value).all() for value in job.net.state_dict().values())
    assert all(math.isfinite(row.train_loss) and math.isfinite(row.val_loss) for row in history)


def test_any_recipe_learns_the_same_on_any_number_of_processes(tmp_path: Path) -> None:
    """In double precision, so that a difference is one of meaning; whole batches, as their statistics must be equal."""
    numbers = [str(number) for number in range(200, 200 + MANY // 3)]
    script = str(Path(__file__).parent / "combinations.py")
    losses = []
    for processes in (1, 2, 4):
        launch = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={processes}", "--standalone"]
        run = subprocess.run(
            [*(launch if processes > 1 else [sys.executable]), script, str(tmp_path / str(processes)), *numbers],
            capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, timeout=500,
        )  # fmt: skip
        assert run.returncode == 0, run.stderr
        losses.append({line.split()[0]: float(line.split()[1]) for line in run.stdout.splitlines()})
    assert set(losses[0]) == set(numbers)
    for number in numbers:
        assert losses[1][number] == pytest.approx(losses[0][number], rel=1e-5), drawn(int(number))
        assert losses[2][number] == pytest.approx(losses[0][number], rel=1e-5), drawn(int(number))
