"""After a lost worker `torchrun` gives the same command again: which run it is that goes on."""

from __future__ import annotations

import os
from pathlib import Path

from convista.errors import RunError
from convista.files import without_secrets
from convista.tasks.run import Run

__all__ = ["job_of_torchrun", "left_behind"]


def job_of_torchrun() -> str:
    """The number of the `torchrun` job, the same in all its restarts; nothing outside of one."""
    name = os.environ.get("TORCHELASTIC_RUN_ID", "none")
    return "" if name == "none" else name


def left_behind(out: Path | None, name: str, command: str) -> Run | None:
    """The run that this very command began before `torchrun` started it again; None where there is none.

    `torchrun` counts restarts after a failure, but none where processes join or leave: then its job's number tells.
    """
    job, restarted = job_of_torchrun(), os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"
    if not (job or restarted):
        return None
    for folder in [out] if out else sorted(Path("runs").glob(f"{name}*"), key=_made, reverse=True):
        if not (folder / "run.json").is_file():
            continue
        try:
            run = Run.load(folder)
        except RunError:
            continue
        same = run.info.get("command") == without_secrets(command) and run.info.get("job", "") == job
        if same and (restarted or not run.done):
            return run
    return None


def _made(folder: Path) -> float:
    return folder.stat().st_mtime
