"""What one sees while a long job runs: a progress bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from rich.console import Console as Terminal
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from convista.errors import InterruptedRunError
from convista.training import Console, Progress

__all__ = ["duration", "job"]

EVERY = 20.0  # seconds between two plain lines


@contextmanager
def job(command: str) -> Iterator[Console]:
    """A `Console` on stderr. Ctrl-C and SIGTERM ask the job to save and stop; a second one stops it at once."""
    asked: list[int] = []

    def ask(number: int, _: FrameType | None) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with _display(Terminal(stderr=True, highlight=False), asked) as console:
            yield Console(console.say, console.show, console.reading, lambda: bool(asked), command)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Display:
    """Draws what the job says; knows whether anybody watches."""

    def __init__(self, terminal: Terminal, asked: list[int]):
        self.terminal, self.asked, self.last = terminal, asked, time.monotonic()
        self.bar = Bar(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[speed]}"), TextColumn("left"), TimeRemainingColumn(),
            console=terminal, transient=True, disable=not terminal.is_terminal,
        )  # fmt: skip
        self.task = self.bar.add_task("reading pictures", speed="", total=None)
        self.job, self.started, self.first, self.done = "", time.monotonic(), 0, 0

    def say(self, text: str) -> None:
        if self.terminal.is_terminal:
            self.terminal.print(text, markup=False, soft_wrap=True)
        else:
            print(text, file=sys.stderr, flush=True)

    def show(self, progress: Progress) -> None:
        if progress.rate is not None:
            step = f"step {progress.done}/{progress.total}"
            told = f"rate {progress.rate:.2g}  loss {progress.loss:.3f}"
            self._move("sweeping", step, progress.done, progress.total, told)
            return
        speed = f"loss {progress.loss:.3f}  {progress.pictures_per_second:,.0f} images/s"
        self._move("training", f"epoch {progress.epoch}/{progress.epochs}", progress.done, progress.total, speed)

    def reading(self, what: str, done: int, total: int) -> None:
        if self.asked:
            raise InterruptedRunError(f"Stopped while {what}. Give the same command again.")
        self._move(what, what, done, total, f"{done:,} of {total:,}")

    def _move(self, job: str, what: str, done: int, total: int, speed: str) -> None:
        now = time.monotonic()
        if job != self.job or done < self.done:
            self.job, self.started, self.first = job, now, done
            self.bar.reset(self.task, description=what, total=total, completed=done, speed=speed)
        self.done = done
        self.bar.update(self.task, description=what, completed=done, total=total, speed=speed)
        if not self.terminal.is_terminal and now - self.last > EVERY:
            self.last = now
            share = f"{100 * done // max(1, total)} %" + (" of all epochs" if job == "training" else "")
            each = (now - self.started) / max(1, done - self.first)
            left = f", about {duration(each * (total - done))} left" if done > self.first else ""
            self.say(f"{what}: {share}, {speed}{left}")


def duration(seconds: float) -> str:
    """Seconds in the units that one thinks in.

    >>> duration(42), duration(3010), duration(9000), duration(200_000)
    ('42 s', '50 min', '2 h 30 min', '2 days 8 h')
    """
    minutes, hours = round(seconds / 60), round(seconds / 3600)
    if seconds < 100:
        return f"{seconds:.0f} s"
    if minutes < 100:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min" if hours < 48 else f"{hours // 24} days {hours % 24} h"


@contextmanager
def _display(terminal: Terminal, asked: list[int]) -> Iterator[_Display]:
    display = _Display(terminal, asked)
    with display.bar:
        yield display
