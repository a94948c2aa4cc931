"""Exact nearest neighbours against scikit-learn's brute force, interleaved; and whether they are exact.

    OMP_NUM_THREADS=2 python benchmarks/neighbours_speed.py [--pictures 50000] [--width 512] [--queries 1000] [--all]

Features are float32: noise around 100 centres, as classes are. Both find the ten nearest by L2 on two threads. The
first queries are compared with brute force in float64. Processor time, over all threads, stands beside the
clock, for machines that others use, too. `--all` asks for the neighbours of every picture among all others, once.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from convista.transfer import nearest

CHECKED = 20  # queries compared with float64
Floats = NDArray[np.floating[Any]]
Times = tuple[float, float]  # seconds by the clock, and of processors


def features(count: int, width: int, seed: int) -> Floats:
    """Noise around 100 centres, which are the same for every seed."""
    centres = np.random.default_rng(0).normal(size=(100, width)).astype(np.float32)
    random = np.random.default_rng(seed)
    return np.asarray(centres[random.integers(0, 100, count)] + random.normal(size=(count, width)).astype(np.float32))


def timed(what: Callable[[], Any]) -> Times:
    clock, processor = time.perf_counter(), time.process_time()
    what()
    return time.perf_counter() - clock, time.process_time() - processor


def wrong(queries: Floats, stored: Floats, k: int) -> int:
    """How many of the first queries have other rows or distances than brute force in float64 finds."""
    distances, rows = nearest(queries, stored, k)
    bad = 0
    for query, far, near in zip(queries[:CHECKED], distances, rows, strict=False):
        exact = np.sqrt(np.square(stored.astype(np.float64) - query.astype(np.float64)).sum(1))
        order = np.argsort(exact, kind="stable")[:k]
        bad += not (np.array_equal(order, near) and np.array_equal(exact[order], far))
    return bad


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("pictures", 50_000), ("width", 512), ("queries", 1000), ("top", 10), ("pairs", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--all", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(2)
    stored, queries = features(options.pictures, options.width, 1), features(options.queries, options.width, 2)
    peer = NearestNeighbors(n_neighbors=options.top, algorithm="brute").fit(stored)
    print(f"{wrong(queries, stored, options.top)} of {CHECKED} answers differ from brute force in float64")
    pairs = [
        (timed(lambda: nearest(queries, stored, options.top)), timed(lambda: peer.kneighbors(queries)))
        for _ in range(options.pairs)
    ]
    whole = timed(lambda: nearest(stored, stored, options.top, exclude_self=True)) if options.all else None
    print(f"{options.queries:,} queries among {options.pictures:,} pictures of {options.width} numbers:")
    for name, which in (("ours", 0), ("scikit-learn", 1)):
        clock, processor = (statistics.median(pair[which][i] for pair in pairs) for i in (0, 1))
        print(f"  {name}: {clock:.2f} s, {processor:.2f} s of processors")
    ratios = sorted(theirs[1] / ours[1] for ours, theirs in pairs)
    print(f"  processor time of scikit-learn over ours: {statistics.median(ratios):.2f}", end=" ")
    print(f"({ratios[0]:.2f} to {ratios[-1]:.2f}, {len(pairs)} pairs)")
    if whole:
        print(f"every picture among all others: {whole[0]:.1f} s, {whole[1]:.1f} s of processors")


if __name__ == "__main__":
    main()
