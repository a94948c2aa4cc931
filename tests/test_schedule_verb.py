"""`convista schedule` draws what training will ask for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import convista
from convista.cli.app import app
from convista.errors import ConvistaError
from convista.recipe import SCHEDULE_NAMES
from convista.training import rate


def run(*words: str) -> str:
    result = CliRunner().invoke(app, ["schedule", *words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.stdout


def test_all_schedules_are_drawn(tmp_path: Path) -> None:
    assert [line.split()[0] for line in run().splitlines()[: len(SCHEDULE_NAMES)]] == list(SCHEDULE_NAMES)
    run("--out", str(tmp_path / "rates.svg"))
    drawing = (tmp_path / "rates.svg").read_text()
    assert drawing.count("<polyline") == len(SCHEDULE_NAMES)


def test_the_rates_are_those_of_training() -> None:
    found = json.loads(run("cosine", "--epochs", "3", "--warmup", "0.5", "--lr", "0.1", "--json"))
    assert found["rates"]["cosine"] == pytest.approx([0.1 * rate("cosine", s, 300, 50) for s in range(300)])


def test_half_an_epoch_is_refused() -> None:
    with pytest.raises(ConvistaError, match="all whole"):
        convista.schedule("cosine", epochs=2.5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("cosinus",), "Did you mean cosine"),
        (("--epochs", "0"), "at least 1 epoch"),
        (("--lr", "-1"), "a positive rate"),
        (("--lr", "nan"), "a positive rate"),
        (("--warmup", "nan"), "a warm-up of at least 0"),
        (("--out", "x.png"), "ends in .svg"),
    ],
)
def test_wrong_input_ends_in_one_clear_message(words: tuple[str, ...], said: str) -> None:
    with pytest.raises(ConvistaError, match=said) as caught:
        run(*words)
    assert caught.value.exit_code == 2
