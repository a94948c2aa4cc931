"""Networks that are not ours, wherever a model is asked for: `timm:NAME`, `torchvision:NAME`, `module:function`."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from convista.blocks import Chain, LayerShape, Spec, shapes
from convista.errors import InputError, UnknownNameError

__all__ = ["Borrowed", "ForeignSpec", "anything", "foreign", "is_foreign", "skeleton"]

WORDS = {"classes": ("classes", "num_classes"), "channels": ("channels", "in_chans", "in_channels")}


@dataclass(frozen=True)
class ForeignSpec:
    """A network of another library, or of your own function, with the same words as our `Spec`.

    `name` is what was asked for, `timm:resnet18` for example. `spec()` builds the module as its library does.
    """

    name: str
    classes: int
    channels: int = 3
    image: int = 224

    def __call__(self) -> nn.Module:
        """The module, freshly initialised by its library. Raises `InputError`."""
        made = _build(self.name, self.classes, self.channels)
        if isinstance(made, nn.Module):
            return made
        raise InputError(f"{self.name} gave a {type(made).__name__}; expected a torch.nn.Module, a Chain or a Spec.")

    @property
    def layers(self) -> tuple[LayerShape, ...]:
        """Every layer with its shapes, found on the meta device. Raises `InputError` if `image` cannot pass."""
        return _layers(self)

    @property
    def rows(self) -> tuple[tuple[str, str], ...]:
        """The network's children: name and kind."""
        return tuple((name, type(child).__name__) for name, child in self.layers[-1].module.named_children())

    def at(self, image: int) -> ForeignSpec:
        """The same network for pictures of another size. Raises `InputError` if they cannot pass through it."""
        spec = replace(self, image=image)
        _ = spec.layers
        return spec

    def __str__(self) -> str:
        parameters = sum(p.numel() for p in self.layers[-1].module.parameters())
        return "\n".join([self.name, *(f"{name}  {kind}" for name, kind in self.rows), f"{parameters:,} parameters"])

    def to_json(self) -> str:
        """The spec as JSON text."""
        data = {"foreign": self.name, "classes": self.classes, "channels": self.channels, "image": self.image}
        return json.dumps(data, indent=1)


def skeleton(spec: ForeignSpec | Borrowed) -> nn.Module:
    """The module without memory for its weights, where its library can build it so."""
    try:
        with torch.device("meta"):
            return spec()
    except (NotImplementedError, RuntimeError):  # some look at their own weights while they are built
        return spec()


@lru_cache(maxsize=16)
def _layers(spec: ForeignSpec) -> tuple[LayerShape, ...]:
    net = skeleton(spec)
    try:
        found = tuple(shapes(net, (spec.channels, spec.image, spec.image)))
    except (RuntimeError, AssertionError, ValueError, TypeError, IndexError) as error:
        raise InputError(
            f"{spec.name} cannot take pictures of {spec.channels}x{spec.image}x{spec.image} "
            f"({str(error).splitlines()[0] if str(error) else type(error).__name__})."
        ) from None
    if not found or found[-1].module is not net:
        raise InputError(f"{spec.name} does not return one tensor of logits, (N, C, H, W) -> (N, classes).")
    if found[-1].shape_out != (spec.classes,):
        raise InputError(f"{spec.name} puts out {found[-1].shape_out} for a picture; expected {spec.classes} logits.")
    return found


def is_foreign(name: str) -> bool:
    """Whether `name` is of the form `library:NAME` or `package.module:function`."""
    return ":" in name


def foreign(name: str, classes: int | None, channels: int | None, image: int | None) -> Spec | ForeignSpec:
    """The network called `name`; a table of your own where the function gives a `Chain` or a `Spec`.

    Raises `UnknownNameError` for an unknown name and `InputError` where the library cannot do what is asked.
    """
    library, _, _ = name.partition(":")
    if library not in ("timm", "torchvision"):
        made = _build(name, classes, channels)
        if isinstance(made, Chain):
            made = Spec(name, made, channels or 3)
        if isinstance(made, Spec):
            for word, asked, has in (("classes", classes, made.classes), ("channels", channels, made.channels)):
                if asked not in (None, has):
                    raise InputError(f"{word}={asked} was given, but {name} makes a network with {has} {word}.")
            return made if image is None else made.at(image)
        if classes is None:
            classes = _width(made)
    spec = ForeignSpec(name, classes or 1000, channels or 3, image or _own_size(name))
    _ = spec.layers
    return spec


@dataclass(frozen=True)
class Borrowed:
    """A network of another library or of your own function just as it comes, whatever it puts out.

    `image` is what its library expects of a picture, (C, H, W). `borrowed()` builds it.
    """

    name: str
    image: tuple[int, ...]

    def __call__(self) -> nn.Module:
        """The module, freshly initialised by its library. Raises `InputError`."""
        made = _build(self.name, None, None)
        if isinstance(made, nn.Module):
            return made
        raise InputError(f"{self.name} gave a {type(made).__name__}; expected a torch.nn.Module, a Chain or a Spec.")


def anything(name: str) -> Spec | Borrowed:
    """The network called `name`: a table where a function of yours gives one, else a network as it comes."""
    library, _, _ = name.partition(":")
    if library not in ("timm", "torchvision"):
        with torch.device("meta"):
            made = _build(name, None, None)
        if isinstance(made, Chain | Spec):
            return made if isinstance(made, Spec) else Spec(name, made)
    return Borrowed(name, _own_input(name))


def _width(made: Any) -> int | None:
    """The classes of a module of your own: the width of its last linear layer."""
    if not isinstance(made, nn.Module):
        return None
    widths = [module.out_features for module in made.modules() if isinstance(module, nn.Linear)]
    return widths[-1] if widths else None


def _own_size(name: str) -> int:
    return _own_input(name)[-1]


def _own_input(name: str) -> tuple[int, int, int]:
    """(C, H, W) of the pictures that a library's network is made for."""
    library, _, model = name.partition(":")
    if library == "timm" and importlib.util.find_spec("timm"):
        import timm

        cfg = timm.get_pretrained_cfg(model, allow_unregistered=True)
        channels, height, width = cfg.input_size if cfg else (3, 224, 224)
        return channels, height, width
    side = 299 if library == "torchvision" and model == "inception_v3" else 224
    return 3, side, side


def _build(name: str, classes: int | None, channels: int | None) -> Any:
    library, _, model = name.partition(":")
    if library == "timm":
        return _timm(model, classes, channels)
    if library == "torchvision":
        return _torchvision(model, classes, channels)
    return _own(library, model, {"classes": classes, "channels": channels})


def _timm(model: str, classes: int | None, channels: int | None) -> nn.Module:
    try:
        import timm
    except ImportError:
        raise InputError(f"timm:{model} needs timm: pip install 'convista[timm]'.") from None
    if not timm.is_model(model.partition(".")[0]):
        raise UnknownNameError("network in timm", model, timm.list_models())
    try:
        asked: dict[str, Any] = {"num_classes": classes, "in_chans": channels}
        made: nn.Module = timm.create_model(model, **{word: n for word, n in asked.items() if n is not None})
    except (RuntimeError, TypeError, AssertionError) as error:
        raise InputError(f"timm cannot make {model} with {classes} classes and {channels} channels: {error}") from None
    return made


def _torchvision(model: str, classes: int | None, channels: int | None) -> nn.Module:
    try:
        import torchvision.models
    except ImportError:
        raise InputError(f"torchvision:{model} needs torchvision: pip install 'convista[timm]'.") from None
    known = torchvision.models.list_models()
    if model not in known:
        raise UnknownNameError("network in torchvision", model, known)
    if channels not in (None, 3):
        raise InputError(f"torchvision's networks take 3 channels, not {channels}; timm:{model} may take more.")
    builder = torchvision.models.get_model_builder(model)
    words = inspect.signature(builder).parameters
    extra: dict[str, Any] = {"weights_backbone": None} if "weights_backbone" in words else {}
    if "googlenet" in model or "inception" in model:
        extra = {"init_weights": True, "aux_logits": False}
    if "weights" not in words:
        raise InputError(f"torchvision:{model} cannot be built without weights.")
    if classes is not None:
        extra["num_classes"] = classes
    made: nn.Module = builder(weights=None, **extra)
    return made


def _own(module: str, function: str, given: dict[str, int | None]) -> Any:
    """What `function` of `module` returns for the words among `given` that it knows; the shapes will tell the rest."""
    maker = _function(module, function)
    try:
        known = inspect.signature(maker).parameters
    except (TypeError, ValueError):
        known = {}  # type: ignore[assignment]
    words: dict[str, int] = {}
    for word, value in given.items():
        name = next((name for name in WORDS[word] if name in known), None)
        needed = name is not None and known[name].default is inspect.Parameter.empty
        if name and (value is not None or needed):
            words[name] = value or {"classes": 1000, "channels": 3}[word]
    try:
        return maker(**words)
    except InputError:
        raise
    except Exception as error:  # your function, your error
        kind = type(error).__name__
        raise InputError(f"{module}:{function} cannot be called with {words}: {kind}: {error}") from error


def _function(module: str, function: str) -> Callable[..., Any]:
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))  # your module lies where you work
    try:
        found = importlib.import_module(module)
    except ImportError as error:
        raise InputError(
            f"'{module}:{function}' was taken for a function of yours, but {module} cannot be imported ({error}). "
            "Networks of other libraries are timm:NAME and torchvision:NAME."
        ) from None
    maker = getattr(found, function, None)
    if not callable(maker):
        known = [name for name, value in vars(found).items() if callable(value) and not name.startswith("_")]
        raise UnknownNameError(f"function in {module}", function, known)
    return maker  # type: ignore[no-any-return]
