"""What training and inference need in memory, and how many pictures fit into a budget."""

from __future__ import annotations

from collections.abc import Callable

from convista.catalogue import amount
from convista.errors import InputError, UnknownNameError
from convista.pricing.alive import bytes_of, inference_peak, saved_for_backward, state_of, training_peak
from convista.pricing.count import Image, Priced, subject_of
from convista.records import Memory

__all__ = ["STATES", "largest_batch", "memory"]

# How often an optimizer keeps each trained weight beside the weight itself.
STATES = {"sgd": 0, "momentum": 1, "nesterov": 1, "rmsprop": 1, "muon": 1, "adam": 2, "adamw": 2, "lamb": 2}


def memory(model: Priced, image: Image | None = None, batch: int = 32, optimizer: str = "adamw") -> Memory:
    """What a training step and an inference on `batch` inputs need, in bytes; `model` and `image` as for `cost`.

    Found without running anything; what kernels borrow while they work comes on top. Raises `InputError`.

    >>> need = memory("resnet18", batch=32)
    >>> need.weights, need.gradients, need.optimizer_state
    (46796608, 46758048, 93516096)
    """
    if optimizer not in STATES:
        raise UnknownNameError("optimizer", optimizer, STATES)
    if batch < 1:
        raise InputError(f"batch={batch} was given; it must be at least 1.")
    subject = subject_of(model, image)
    gradients = bytes_of(p for p in subject.net.parameters() if p.requires_grad)
    weights, state = bytes_of(state_of(subject.net)), STATES[optimizer] * gradients
    return Memory(
        batch=batch,
        optimizer=optimizer,
        weights=weights,
        gradients=gradients,
        optimizer_state=state,
        activations=sum(saved_for_backward(subject, batch).values()),
        peak_train=weights + state + training_peak(subject, batch),
        peak_infer=inference_peak(subject, batch),
    )


def largest_batch(
    model: Priced, budget: str | float, image: Image | None = None, optimizer: str | None = "adamw"
) -> int:
    """The largest batch whose training step fits into `budget` bytes ("8G"), 0 where none does.

    With `optimizer=None` the largest batch whose inference fits. Raises `InputError`.

    >>> largest_batch("resnet18", "8G")
    351
    """
    most = amount("budget", budget)
    if optimizer is not None and optimizer not in STATES:
        raise UnknownNameError("optimizer", optimizer, STATES)
    subject = subject_of(model, image)
    trained = bytes_of(p for p in subject.net.parameters() if p.requires_grad)
    fixed = bytes_of(state_of(subject.net)) + STATES.get(optimizer or "", 0) * trained

    def peak(batch: int) -> float:
        try:
            return inference_peak(subject, batch) if optimizer is None else fixed + training_peak(subject, batch)
        except InputError:
            if batch > 1:
                raise
            return float("inf")  # batch normalisation cannot train on a single value

    return _largest(peak, most)


def _largest(peak: Callable[[int], float], most: float) -> int:
    """By straight lines through known batches: between two of them the peak grows in one."""
    known = {batch: peak(batch) for batch in (2, 4)}
    while True:
        near = [batch for batch in known if known[batch] < float("inf")]
        low, high = sorted(near, key=lambda batch: abs(known[batch] - most))[:2]
        slope = (known[high] - known[low]) / (high - low)
        guess = max(1, int(low + (most - known[low]) / slope))
        if guess in known:
            return max((batch for batch in known if known[batch] <= most), default=0)
        known[guess] = peak(guess)
