"""The cross-validated probe, and the head behind it, against scikit-learn's LogisticRegressionCV, one after the other.

    OMP_NUM_THREADS=2 python benchmarks/probe_speed.py features.npz [--rounds 3]

`features.npz` is what `convista features MODEL PICTURES --out features.npz` writes. Both probes standardise, have the
same five folds and look for the regularisation of least loss; ours stops where it gets worse, the peer tries as many as
ours did, by its own L-BFGS to its own default tolerance. The head learns 20 epochs from four views, as `train` does;
here the views are equal.
"""

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegressionCV
from sklearn.model_selection import PredefinedSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from convista.transfer import HeadRecipe, probe_of, train_head
from convista.transfer.logistic import STRENGTHS, stratified

VIEWS = 4


def timed(what: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    found = what()
    return time.perf_counter() - start, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("features")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    warnings.simplefilter("ignore", FutureWarning)  # of the peer's own words
    torch.set_num_threads(2)
    held = np.load(options.features)
    features = held["features"].astype(np.float32)
    labels, targets = np.unique(held["labels"], return_inverse=True)
    views = np.repeat(held["features"][:, None], VIEWS, 1)
    fold = stratified(targets, 5, 0)
    strength = probe_of(features, targets, len(labels)).regularisation
    tried = STRENGTHS[: STRENGTHS.index(strength) + 2]
    cs = sorted(1 / (len(targets) * 0.8 * one) for one in tried)  # its penalty is on the sum over a fold's pictures
    peer = make_pipeline(
        StandardScaler(), LogisticRegressionCV(Cs=cs, cv=PredefinedSplit(fold), scoring="neg_log_loss")
    )
    rows = []
    for _ in range(options.rounds):
        seconds, probe = timed(lambda: probe_of(features, targets, len(labels)))
        head, _ = timed(partial(train_head, views, targets, len(labels), HeadRecipe(dropout=0.5), probe))
        rows.append((seconds, head, timed(lambda: peer.fit(features, targets))[0]))
    print(f"{len(targets):,} pictures, {features.shape[1]:,} features, {len(labels)} classes, {len(tried)} strengths")
    for name, each in zip(("our probe", "our head", "LogisticRegressionCV"), zip(*rows, strict=True), strict=True):
        print(f"  {name}: {statistics.median(each):.2f} s ({min(each):.2f} to {max(each):.2f})")
    same = (np.argmax(peer.predict_proba(features), 1) == probe(features).argmax(1)).mean()
    print(f"  both say the same of {same:.1%} of the pictures; {probe}")


if __name__ == "__main__":
    main()
