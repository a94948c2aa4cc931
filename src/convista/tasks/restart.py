"""After a lost worker `torchrun` gives the same command again: which run it is that goes on."""

from __future__ import annotations

import os
from pathlib import Path

from convista.data import Prepared, Source
from convista.errors import RunError
from convista.files import without_secrets
from convista.tasks.preparing import prepare_once
from convista.tasks.run import Run
from convista.training import Console, World, launch_of_torchrun

__all__ = ["job_of_torchrun", "left_behind", "prepare_again"]


def job_of_torchrun() -> str:
    """The name of the `torchrun` job, the same in all its restarts; nothing outside of one.

    Without `--rdzv-id` every job is called `none`; then it is this one launch.
    """
    name = os.environ.get("TORCHELASTIC_RUN_ID", "none")
    return launch_of_torchrun() if name == "none" else name


def left_behind(out: Path | None, name: str, command: str) -> Run | None:
    """The run that this very command began before `torchrun` started it again; None where there is none.

    A run that is not done belongs to its job, which several launches may take part in, one after another; a done one
    only to the launch that has finished it, in its restarts: any other asks for a run anew, and is to be refused.
    `torchrun` counts restarts after a failure, but none where processes join or leave.
    """
    job, restarted = job_of_torchrun(), os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"
    if not job:
        return None
    for folder in [out] if out else sorted(Path("runs").glob(f"{name}*"), key=_made, reverse=True):
        if not (folder / "run.json").is_file():
            continue
        try:
            run = Run.load(folder)
        except RunError:
            continue
        if run.info.get("command") != without_secrets(command) or run.info.get("job") != job:
            continue
        if not run.done or (restarted and "" != run.info.get("launch", "") == launch_of_torchrun()):
            return run
    return None


def _made(folder: Path) -> float:
    return folder.stat().st_mtime


def prepare_again(run: Run, source: Source, console: Console, world: World) -> Prepared:
    """The pictures that a run began with. Raises `RunError` when they have changed."""
    table = world.once(lambda: run.spec)
    prepared = prepare_once(source, run.path, table.channels, run.view.stored, run.recipe, console, world)
    if prepared.fingerprint != run.info["fingerprint"]:
        raise RunError(
            f"The pictures in {run.info['data']} are not those that {run.path} began with, so it cannot go on as if "
            "nothing had happened. Put them back, or start a new run."
        )
    return prepared
