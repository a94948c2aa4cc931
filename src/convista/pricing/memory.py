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
        raise UnknownNameError("optimizer", str(optimizer), STATES)
    if not isinstance(batch, int) or batch < 1:
        raise InputError(f"batch={batch!r} was given; expected a whole number of at least 1.")
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
        peak_train=weights + state + max(training_peak(subject, batch), _update(gradients)),
        peak_infer=inference_peak(subject, batch),
    )


def _update(gradients: int) -> int:
    """Bytes while the weights are changed: the gradients, and what the optimizer works out beside each of them.

    torch's default on a GPU takes all weights at once (`foreach`), and needs as much again; fused ones need nothing.
    """
    return 2 * gradients


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
            if optimizer is None:
                return inference_peak(subject, batch)
            return fixed + max(training_peak(subject, batch), _update(trained))
        except InputError:
            if batch > 1:
                raise
            return float("inf")  # batch normalisation cannot train on a single value

    return _largest(peak, most)


def _largest(peak: Callable[[int], float], most: float) -> int:
    """By doubling, and then by straight lines between a batch that fits and one that does not."""
    fits, fails = (2, peak(2)), (4, 0.0)
    if fits[1] > most:
        return int(peak(1) <= most)
    while (found := peak(fails[0])) <= most:
        fits, fails = (fails[0], found), (2 * fails[0], 0.0)
    fails = (fails[0], found)
    while fails[0] - fits[0] > 1:
        share = (most - fits[1]) / (fails[1] - fits[1])
        guess = min(max(fits[0] + int(share * (fails[0] - fits[0])), fits[0] + 1), fails[0] - 1)
        found = peak(guess)
        fits, fails = ((guess, found), fails) if found <= most else (fits, (guess, found))
    return fits[0]
