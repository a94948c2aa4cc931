"""Run under torchrun or alone: a few steps of a network in double precision; the first process prints the losses."""

import os
import sys
from pathlib import Path

import torch
from torch.nn.parallel import DistributedDataParallel

import convista
from convista.data import global_batches, open_source, prepare
from convista.recipe import Recipe
from convista.records import View
from convista.training import Training, Where, joined


def main(data: str, model: str) -> None:
    with joined() as world:
        found = prepare(open_source(data), 16, 3, 0, None)
        recipe = Recipe.of(model=model, epochs=2, batch=15, precision="fp32")
        torch.manual_seed(0)
        net = convista.models.spec(model, 3, 3, 16)().double()
        job = Training(
            net, found.splits["train"], found.splits["val"], View(16, 16), recipe, Where(Path(), world=world)
        )
        floats, shared = job.normalise, DistributedDataParallel(net) if world.size > 1 else net
        job.normalise = lambda batch: floats(batch).double()  # type: ignore[assignment]
        for indices in global_batches(len(job.train), 15, 0, 0):
            job.step(shared, indices)
            job.state.batch += 1
            if world.first:
                print(repr(job.state.loss_sum))


if __name__ == "__main__":
    main(*sys.argv[1:])
    sys.stdout.flush()
    os._exit(0)  # as the command does: gloo's threads may abort while the interpreter is taken down
