"""`bench alpha`: the exact alpha path of 32 x 32 heads, compared with the plain way of finding it.

The plain way computes a mask between every two adjacent crossings of the lines of two heads (or groups). There are about
260,000 of them, so it is timed on an evenly spaced sample of the gaps and scaled to all; finding and sorting the crossings
is timed in full. On the sampled gaps the masks must equal those of the path.
"""

import numpy as np
import torch

from headprune_core import alpha_path, distinct_masks, hies, interval_at, prune_mask

from . import machine

ROWS, HEADS, SPARSITY = 32, 32, 0.5
SAMPLE, REPEATS = 400, 7


def run(device: torch.device, shape=(ROWS, HEADS), sample=SAMPLE, repeats=REPEATS, labels=None, progress=None) -> dict:
    """Return the figures as one document; see `table`.

    Args:
        device: unused, because everything runs on the CPU; all benchmarks take it.
        shape: rows and heads.
        sample: gaps on which the plain way is timed.
        repeats: timed runs of the path.
        labels: names of the `constraints` to measure; all if None.
        progress: called as progress(done, total, note) before each constraint.
    """
    generator = np.random.default_rng(0)
    his, ae = generator.random((2, *shape))
    cases = {label: kwargs for label, kwargs in constraints(shape, generator).items() if labels is None or label in labels}
    results = {}
    for number, (label, kwargs) in enumerate(cases.items()):
        if progress is not None:
            progress(number, len(cases), f"alpha path, {label}")
        paths = []
        work = lambda paths=paths, kwargs=kwargs: paths.append(alpha_path(his, ae, SPARSITY, **kwargs))  # noqa: E731
        times = machine.interleaved({"path": work}, repeats, device)["path"]
        path, starts = paths[-1], []
        crossing = machine.seconds(
            lambda starts=starts, kwargs=kwargs: starts.append(every_crossing(his, ae, **kwargs)), device
        )
        middles = (starts[0][1:] + starts[0][:-1]) / 2.0
        chosen = middles[np.linspace(0, len(middles) - 1, min(sample, len(middles))).astype(int)]
        masks = []
        plain = machine.seconds(
            lambda masks=masks, chosen=chosen, kwargs=kwargs: masks.extend(plain_masks(his, ae, chosen, kwargs)), device
        )
        equal = [bool((interval_at(path, alpha).mask == mask).all()) for alpha, mask in zip(chosen, masks, strict=True)]
        results[label] = {
            "seconds": {"median": machine.median(times), "all": times},
            "intervals": len(path),
            "distinct masks": len(distinct_masks(path)[0]),
            "gaps": len(middles),
            "gaps that were timed": len(chosen),
            "seconds of plain, scaled to all gaps": crossing + plain * len(middles) / len(chosen),
            "equal masks": sum(equal),
        }
    if progress is not None:
        progress(len(cases), len(cases), "done")
    return {"machine": machine.name(torch.device("cpu")), "shape": list(shape), "sparsity": SPARSITY, "paths": results}


def table(result: dict) -> str:
    """Return the figures as text."""
    rows, heads = result["shape"]
    lines = []
    for label, path in result["paths"].items():
        seconds, plain = path["seconds"]["median"], path["seconds of plain, scaled to all gaps"]
        lines.append(
            f"{label:36s} {seconds:7.3f} s {path['intervals']:10d} {path['distinct masks']:8d} {plain:9.1f} s "
            f"{plain / seconds:7.0f}x   {path['equal masks']} of {path['gaps that were timed']}"
        )
    return "\n".join(
        [
            f"alpha path of {rows} x {heads} random scores at sparsity {result['sparsity']:g} · {result['machine']}",
            f"{'':36s} {'path':>9s} {'intervals':>10s} {'masks':>8s} {'plain':>11s} {'ratio':>8s}   equal masks",
            *lines,
            "plain: one mask between every two crossings, timed on the gaps of the last column and scaled to all",
        ]
    )


def constraints(shape: tuple[int, int], generator: np.random.Generator) -> dict[str, dict]:
    """Return arguments of `prune_mask` by the name of the constraint."""
    protect = generator.random(shape) < 0.05
    overrides = {"protect": protect, "remove": (generator.random(shape) < 0.05) & ~protect}
    least = {"min_heads_per_layer": shape[1] // 3}
    return {
        "no constraint": {},
        "a third kept in every layer": least,
        "5% always kept, 5% always pruned": overrides,
        "groups of four": {"groups": np.broadcast_to(np.arange(shape[1]) // 4, shape)},
        "uniform sparsity": {"uniform": True},
        "sparsity in parameters": {"parameters": generator.integers(1000, 5000, shape)},
        "parameters, third kept, overrides": least | overrides | {"parameters": generator.integers(1000, 5000, shape)},
    }


def every_crossing(his: np.ndarray, ae: np.ndarray, groups=None, **_) -> np.ndarray:
    """Return 0, every alpha at which the lines of two heads (or group means) cross, in ascending order, and 1."""
    high, low = hies(his, ae, 1.0).ravel(), hies(his, ae, 0.0).ravel()
    if groups is not None:
        name = (np.arange(len(his))[:, None] * his.shape[1] + groups).ravel()
        _, which, size = np.unique(name, return_inverse=True, return_counts=True)
        high, low = (np.bincount(which, weights=end) / size for end in (high, low))
    first, second = np.triu_indices(len(high), 1)
    at_0, at_1 = low[first] - low[second], high[first] - high[second]
    crosses = at_0 * at_1 < 0
    return np.concatenate([[0.0], np.unique(at_0[crosses] / (at_0[crosses] - at_1[crosses])), [1.0]])


def plain_masks(his: np.ndarray, ae: np.ndarray, alphas: np.ndarray, kwargs: dict) -> list[np.ndarray]:
    """Return the mask at each alpha, computed one by one."""
    return [prune_mask(hies(his, ae, alpha), SPARSITY, **kwargs) for alpha in alphas]
