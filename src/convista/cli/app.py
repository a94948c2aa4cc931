"""`convista VERB …`: words in, tables and exit codes out. Nothing heavy is imported before a verb needs it."""

from __future__ import annotations

import io
import json
import os
import shlex
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from convista.catalogue import Wanted, find
from convista.cli import costs, doctors, features, likenesses, looks, pretraining, runs, schedules, shifts
from convista.cli.options import checked, options_of, recipe_options, typed
from convista.errors import ConvistaError, InputError, UnknownNameError
from convista.files import shown
from convista.words import OTHERS_SAY

__all__ = ["app", "main"]

app = typer.Typer(
    help="From a folder of pictures to a convolutional network that you can afford, train, look inside and ship.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, everything else on stderr.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, as made by train.")]


def _show_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(version("convista"))
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    """The options before the verb."""


@app.command("train")
@recipe_options
def _train(
    data: Annotated[
        list[str] | None,
        typer.Argument(metavar="DATA", help="Folder with one folder per class, .zip of one, .tar shards, or digits."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The run folder to make; runs/NAME if not given.")] = None,
    resume: Annotated[Path | None, typer.Option(metavar="RUN", help="Go on with an interrupted run.")] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Take words from a TOML or JSON file, or from a run; words given here win."),
    ] = None,
    sweep: Annotated[
        list[str] | None,
        typer.Option(metavar="WORD=VALUES…", help="Train once for each value, such as lr=1e-3,3e-3 seed=0..4."),
    ] = None,
    from_: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="MODEL|RUN",
            help="Begin with a pretrained network: a head, and more of it where that pays.",
        ),
    ] = None,
    weights: Annotated[
        str | None, typer.Option(metavar="FILE|NAME", help="Weights for --from; the published ones if not given.")
    ] = None,
    adapt: Annotated[
        str | None,
        typer.Option(
            help="With --from: fit the pictures' channels or the network's statistics first (none, pixels, norms)."
        ),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse to start if any file is unusable.")] = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Also write event files for TensorBoard into the run folder.")
    ] = False,
    device: Device = "auto",
    json: Json = False,
    context: typer.Context = None,  # type: ignore[assignment]  # typer fills it in
    **words: Any,
) -> None:
    """Train a network on a folder of pictures; leaves a run folder with weights, scores and a report."""
    pictures, axes = runs.sorted_out(data or [], sweep)
    words = checked(typed(context, words))
    from convista.cli.console import job
    from convista.verbs import sweep as train_many
    from convista.verbs import train

    many = runs.sweeps(axes, resume, recipe, words)
    words |= {"out": out, "resume": resume, "recipe": recipe, "from_": from_, "weights": weights, "adapt": adapt}
    words |= {"device": device, "strict": strict, "tensorboard": tensorboard}
    with job(shlex.join(["convista", *sys.argv[1:]])) as console:
        found = train_many(pictures, axes, console=console, **words) if many else None
        run = None if many else train(pictures, console=console, **words)
    if int(os.environ.get("RANK", "0")):
        return
    if found is not None:
        runs.put_sweep(found, json)
    elif run is not None and json:
        _put(_summary(run))
    elif run is not None:
        print(f"test: {run.test}\nrun:  {run.path}\npage: {run.path / 'report.html'}")


@app.command("predict")
def _predict(
    run: RunFolder,
    images: Annotated[list[str], typer.Argument(metavar="IMAGES…", help="Files, folders, .zip archives or patterns.")],
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Say what is in each picture."""
    from convista.tasks import Run

    opened = Run.load(run)
    if not opened.done:
        print(f"{run} is not trained to its end: these are its best weights so far.", file=sys.stderr)
    answer = opened.predict(images, device)
    for file in answer.skipped:
        print(f"skipped {shown(file.path)}: {file.reason}", file=sys.stderr)
    if json:
        _put(asdict(answer))
    else:
        width = max((len(shown(p.image)) for p in answer.predictions), default=0)
        for p in answer.predictions:
            print(f"{shown(p.image):<{width}}  " + "  ".join(f"{g.label} {g.probability:.3f}" for g in p.top[:3]))
    if not answer.predictions:
        raise InputError(f"No usable picture was given ({len(answer.skipped)} skipped).")


@app.command("eval")
def _eval(
    run: RunFolder,
    data: Annotated[
        str | None,
        typer.Argument(
            help="Folder with one folder per class, .zip of one, .tar shards, or digits; else its own test pictures."
        ),
    ] = None,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Judge a run on pictures that its training has not seen."""
    from convista.tasks import Run

    judged = Run.load(run)
    score, counts = judged.evaluate(data, device)
    cautions = judged.info.get("cautions", []) if data is None else []
    for caution in cautions:
        print(caution, file=sys.stderr)
    if counts["seen_in_training"] or counts["bad"]:
        said = f"left out: {counts['seen_in_training']} pictures that training has seen, {counts['bad']} unusable files"
        print(said, file=sys.stderr)
    if json:
        _put(asdict(score) | counts | {"cautions": cautions})
        return
    print(score)
    width = max(len(c.label) for c in score.classes)
    print(f"{'class':<{width}}  pictures  precision  recall  floor")
    for c in score.classes:
        precision, recall = ("    –" if x is None else f"{x:5.3f}" for x in (c.precision, c.recall))
        print(f"{c.label:<{width}}  {c.pictures:>8}      {precision}   {recall}  {c.floor:.3f}")


@app.command("models")
@options_of(Wanted)
def _models(
    name: Annotated[str | None, typer.Argument(help="Show this network's card and table.")] = None,
    plot: Annotated[Path | None, typer.Option(metavar="FILE.svg", help="Draw accuracy against MACs.")] = None,
    keras_table: Annotated[
        bool, typer.Option("--keras-table", help="The table of the Keras documentation, counted on our networks.")
    ] = False,
    json: Json = False,
    **wanted: Any,
) -> None:
    """List the networks, or those within bounds, with their price and published accuracy; or show one."""
    from convista.cli import networks

    bounds = {word: value for word, value in wanted.items() if value is not None}
    if (name is not None) + keras_table + bool(bounds or plot) > 1:
        raise InputError("A network's card, the Keras table and bounds on the list were asked for; give one of them.")
    if name is not None:
        _put(networks.card_json(name)) if json else print(networks.card_text(name))
        return
    if keras_table:
        _put(networks.keras_rows()) if json else print(networks.keras_text())
        return
    if plot is not None:
        networks.check_plot(plot)
    found = find(**bounds)
    if plot is not None:
        networks.write_plot(plot, found, wanted["family"])
    if json:
        _put([asdict(row) for row in found])
    else:
        print(networks.listing(found))
        print(networks.NOTE, file=sys.stderr)


costs.add_to(app)
looks.add_to(app)
schedules.add_to(app)
runs.add_to(app)
doctors.add_to(app)
features.add_to(app)
likenesses.add_to(app)
shifts.add_to(app)
pretraining.add_to(app)


@app.command("report")
def _report(run: RunFolder, json: Json = False) -> None:
    """Write the report page of a run again."""
    from convista.verbs import report

    page = report(run)
    _put({"report": str(page)}) if json else print(page)


def _summary(run: Any) -> dict[str, Any]:
    info = run.info
    figures = ("top1", "top5", "loss", "ece")
    return {
        "run": str(run.path),
        "model": info["recipe"]["model"],
        "params": run.cost.params,
        "epochs": info["epochs"],
        "seconds": info["seconds"],
        "val": {key: info["val"][key] for key in figures},
        "test": {key: info["test"][key] for key in figures},
        "floor": info["test"]["floor"],
        "bad_files": info["bad_files"],
        "report": str(run.path / "report.html"),
    } | {key: info[key] for key in ("plan", "features", "head_seconds") if key in info}


def _put(data: Any) -> None:
    print(json.dumps(data))


def main() -> None:
    """The entry point: 0 done, 2 the input is wrong, 1 our fault, 130 interrupted."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # file names need not be text
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else whoever started us wants it ignored
        signal.signal(signal.SIGINT, _interrupted)
    try:
        _hint_at_ours(sys.argv[1:])
        app(standalone_mode=True)
    except ConvistaError as error:
        _leave(f"convista: {error}", error.exit_code)
    except KeyboardInterrupt:
        _leave("convista: stopped.", 130)
    except SystemExit as leaving:
        if isinstance(leaving.__context__, BrokenPipeError):  # whoever read our output has had enough
            os._exit(0)
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            _leave_at_once(int(leaving.code or 0))
        raise
    except Exception as error:  # the last resort: one line here, the rest in a file
        _leave(f"convista: our fault, sorry: {error!r}.{_keep_traceback()}", 1)


def _interrupted(*_: Any) -> None:
    """Ctrl-C; at once while torch is being loaded, for what C++ calls must not raise."""
    if getattr(getattr(sys.modules.get("torch"), "__spec__", None), "_initializing", False):
        os.write(2, b"convista: stopped.\n")
        os._exit(130)
    raise KeyboardInterrupt


def _hint_at_ours(words: Sequence[str]) -> None:
    """Raises `UnknownNameError` for an option that is called so elsewhere."""
    for word in words:
        name = word.partition("=")[0].removeprefix("--").replace("-", "_")
        if word.startswith("--") and name in OTHERS_SAY:
            ours = f"--{OTHERS_SAY[name]}"
            raise UnknownNameError("option", word.partition("=")[0], [ours], ours)


def _tell_torchrun(message: str) -> None:
    """Leaves the message where torchrun looks for it: it then stands in the summary that torchrun prints last."""
    if place := os.environ.get("TORCHELASTIC_ERROR_FILE"):
        told = {"message": message, "extraInfo": {"timestamp": str(int(time.time()))}}
        with suppress(OSError):
            Path(place).write_text(json.dumps({"message": told}), encoding="utf-8")


def _leave_at_once(code: int) -> None:
    """Without taking the interpreter down piece by piece: gloo's threads abort now and then when that happens."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _keep_traceback() -> str:
    import tempfile

    try:
        with tempfile.NamedTemporaryFile("w", prefix="convista-", suffix=".log", delete=False) as file:
            traceback.print_exc(file=file)
    except OSError:
        traceback.print_exc()
        return ""
    return f" The traceback is in {file.name}; please report it."


def _leave(message: str, code: int) -> None:
    print(message, file=sys.stderr, flush=True)
    _tell_torchrun(message)
    sys.exit(code)
