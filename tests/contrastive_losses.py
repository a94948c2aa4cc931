"""Run under torchrun or alone: a few steps of SimCLR and MoCo in double precision; the first process prints losses."""

import os
import sys
from pathlib import Path

import torch
from torch.nn.parallel import DistributedDataParallel

import convista
from convista.data import global_batches, open_source, prepare
from convista.feature_recipes import SelfRecipe
from convista.records import View
from convista.selfsup import Encoder, Learner, SelfTraining, moco_head, simclr_head
from convista.training import Where, joined


def main(data: str, model: str) -> None:
    with joined() as world:
        found = prepare(open_source(data), 16, 3, 0, None)
        for method, head in (("simclr", simclr_head), ("moco", moco_head)):
            asked = SelfRecipe.of(method=method, model=model, epochs=2, batch=15, projection=8, precision="fp32")
            asked = asked.decided(16, 40)
            torch.manual_seed(0)
            encoder = Encoder(convista.models.spec(model, 3, 3, 16)())
            net = Learner(encoder, head(encoder.width, 8)).double()
            train, val = found.splits["train"], found.splits["val"]
            job = SelfTraining(net, train, val, View(16, 16), asked.recipe, Where(Path(), world=world), asked=asked)
            floats, shared = job.normalise, DistributedDataParallel(net) if world.size > 1 else net
            job.normalise = lambda batch, floats=floats: floats(batch).double()  # type: ignore[assignment, misc]
            for indices in global_batches(len(job.train), 15, 0, 0)[:6]:
                job.step(shared, indices)
                job.state.batch += 1
                if world.first:
                    print(repr(job.state.loss_sum))


if __name__ == "__main__":
    main(*sys.argv[1:])
    sys.stdout.flush()
    os._exit(0)  # as the command does: gloo's threads may abort while the interpreter is taken down
