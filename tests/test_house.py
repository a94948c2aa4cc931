"""The house: imports look down, public names are complete and documented, starting is fast."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

import convista

SOURCE = Path(convista.__file__).parent
FLOORS = {
    "errors": 0, "records": 0, "words": 0, "recipe": 0, "feature_recipes": 0,
    "registry": 0, "files": 0, "catalogue": 0, "devices": 0,
    "blocks": 1, "data": 1,
    "models": 2,
    "pricing": 3, "training": 3, "see": 3,
    "tasks": 4,
    "transfer": 5,
    "reports": 6, "selfsup": 6,
    "pretraining": 7, "transfer_verbs": 7, "verbs": 7, "cli": 7, "__init__": 7, "__main__": 7,
    "spread": 8,
}  # fmt: skip
ONE_ROOM = (
    {"verbs", "cli"},
    {"transfer_verbs", "cli"},
    {"verbs", "pretraining"},
    {"cli", "pretraining"},
    {"cli", "__main__"},
)  # the files of the front door and of the ground know each other
MODULES = sorted(
    name for _, name, _ in pkgutil.walk_packages([str(SOURCE)], "convista.") if not name.endswith("__main__")
)


def imports(path: Path) -> set[str]:
    """The convista modules that a file imports, anywhere in it, but for type checkers only."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text()))
    return {name for name in found if name == "convista" or name.startswith("convista.")}


def module_name(path: Path) -> str:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(("convista", *(parts[:-1] if parts[-1] == "__init__" else parts)))


FILES = {module_name(path): path for path in SOURCE.rglob("*.py")}


def room(name: str) -> str:
    return name.split(".")[1] if "." in name else "__init__"


def test_every_room_has_a_floor() -> None:
    assert {room(name) for name in FILES} == set(FLOORS)


@pytest.mark.parametrize("name", sorted(FILES))
def test_imports_look_down(name: str) -> None:
    for other in imports(FILES[name]):
        if other in FILES and room(other) != room(name):
            one_room = {room(name), room(other)} in ONE_ROOM or FLOORS[room(name)] == 0
            assert FLOORS[room(other)] < FLOORS[room(name)] or one_room, (
                f"{name} on floor {FLOORS[room(name)]} looks up at {other} on floor {FLOORS[room(other)]}"
            )


def test_there_are_no_circles() -> None:
    graph = {name: {other for other in imports(path) if other in FILES} - {name} for name, path in FILES.items()}
    graph = {name: {o for o in others if not name.startswith(o + ".")} for name, others in graph.items()}
    done: set[str] = set()

    def walk(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, f"a circle: {' -> '.join((*path, name))}"
        if name not in done:
            for other in graph[name]:
                walk(other, (*path, name))
            done.add(name)

    for name in graph:
        walk(name, ())


@pytest.mark.parametrize("name", ["convista", *MODULES])
def test_all_is_complete_sorted_and_documented(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__
    listed = module.__all__
    assert list(listed) == sorted(listed, key=_isort_key)
    for public in listed:
        thing = getattr(module, public)
        if inspect.isfunction(thing) or inspect.isclass(thing):
            assert thing.__doc__, f"{name}.{public} has no docstring"
    mine = {
        key for key, value in vars(module).items()
        if not key.startswith("_") and getattr(value, "__module__", None) == name
        and (inspect.isfunction(value) or inspect.isclass(value))
    }  # fmt: skip
    if name.count(".") == 1 or name == "convista":
        assert mine <= set(listed) | {"main"}


def _isort_key(name: str) -> tuple[int, str]:
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name


def test_public_methods_are_documented_where_they_are_first_declared() -> None:
    for name in MODULES:
        for cls in vars(importlib.import_module(name)).values():
            if inspect.isclass(cls) and cls.__module__ == name and not cls.__name__.startswith("_"):
                for key, value in vars(cls).items():
                    if inspect.isfunction(value) and value.__name__ == key and not key.startswith("_"):
                        documented = any(getattr(getattr(base, key, None), "__doc__", None) for base in cls.__mro__)
                        assert documented, f"{name}.{cls.__name__}.{key}"


def seconds(code: str, bound: float) -> float:
    """The best of twenty, or the first within `bound`, so that a busy machine does not fail the test."""
    best = float("inf")
    for _ in range(20):
        start = time.perf_counter()
        subprocess.run([sys.executable, *code.split()], check=True, capture_output=True)
        best = min(best, time.perf_counter() - start)
        if best < bound:
            break
    return best


def test_help_is_there_at_once_and_does_not_load_torch() -> None:
    assert seconds("-m convista --help", 0.3) < 0.3
    code = "import sys, convista.cli; assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_import_costs_next_to_nothing() -> None:
    code = "import time; import torch; t = time.perf_counter(); import convista; print(time.perf_counter() - t)"
    times = [float(subprocess.check_output([sys.executable, "-c", code])) for _ in range(3)]
    assert statistics.median(times) < 0.1


def test_no_file_is_too_long_to_read() -> None:
    assert {name: n for name, path in FILES.items() if (n := len(path.read_text().splitlines())) > 400} == {}
