"""`bench alpha`: the exact alpha path of 32 x 32 heads, against the plain way of finding it.

The plain way makes the mask between any two neighbouring crossings of two heads' (or groups') lines. There are some 260
thousand of them, so it is timed on some of the gaps, spread evenly, and scaled to all; finding and sorting the crossings is
timed whole. On the same gaps the masks have to be those of the path.
"""

import numpy as np
import torch

from headprune_core import alpha_path, distinct_masks, hies, interval_at, prune_mask

from . import machine

ROWS, HEADS, SPARSITY = 32, 32, 0.5
SAMPLE, REPEATS = 400, 7


def run(device: torch.device, shape=(ROWS, HEADS), sample=SAMPLE, repeats=REPEATS, labels=None, progress=None) -> dict:
    """The figures as one document; see `table`. labels: of which `constraints`, all if None.

    device: given for likeness with the other benchmarks; all of it is done by the CPU.
    """
    generator = np.random.default_rng(0)
    his, ae = generator.random((2, *shape))
    cases = {label: some for label, some in constraints(shape, generator).items() if labels is None or label in labels}
    found = {}
    for number, (label, some) in enumerate(cases.items()):
        if progress is not None:
            progress(number, len(cases), f"the alpha path, {label}")
        paths = []
        work = lambda paths=paths, some=some: paths.append(alpha_path(his, ae, SPARSITY, **some))  # noqa: E731
        times = machine.hold_lock({"path": work}, repeats, device)["path"]
        path, starts = paths[-1], []
        crossing = machine.seconds(lambda starts=starts, some=some: starts.append(every_crossing(his, ae, **some)), device)
        middles = (starts[0][1:] + starts[0][:-1]) / 2.0
        chosen = middles[np.linspace(0, len(middles) - 1, min(sample, len(middles))).astype(int)]
        masks = []
        plain = machine.seconds(
            lambda masks=masks, chosen=chosen, some=some: masks.extend(plain_masks(his, ae, chosen, some)), device
        )
        equal = [bool((interval_at(path, alpha).mask == mask).all()) for alpha, mask in zip(chosen, masks, strict=True)]
        found[label] = {
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
    return {"machine": machine.name(torch.device("cpu")), "shape": list(shape), "sparsity": SPARSITY, "paths": found}


def table(result: dict) -> str:
    """The figures for people."""
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
            f"the alpha path of {rows} x {heads} random scores at sparsity {result['sparsity']:g} · {result['machine']}",
            f"{'':36s} {'path':>9s} {'intervals':>10s} {'masks':>8s} {'plain':>11s} {'ratio':>8s}   equal masks",
            *lines,
            "plain: a mask between any two crossings, timed on the gaps of the last column and scaled to all",
        ]
    )


def constraints(shape: tuple[int, int], generator: np.random.Generator) -> dict[str, dict]:
    """Constraints of `prune_mask` by what they are called here."""
    protect = generator.random(shape) < 0.05
    by_hand = {"protect": protect, "remove": (generator.random(shape) < 0.05) & ~protect}
    least = {"min_heads_per_layer": shape[1] // 3}
    return {
        "no constraint": {},
        "a third kept in every row": least,
        "5 % protected, 5 % removed by hand": by_hand,
        "groups of four": {"groups": np.broadcast_to(np.arange(shape[1]) // 4, shape)},
        "even rows": {"uniform": True},
        "a budget of parameters": {"parameters": generator.integers(1000, 5000, shape)},
        "parameters, third kept, by hand": least | by_hand | {"parameters": generator.integers(1000, 5000, shape)},
    }


def every_crossing(his: np.ndarray, ae: np.ndarray, groups=None, **_) -> np.ndarray:
    """0, every alpha at which the lines of two heads (or groups, with their means) meet, in order, and 1."""
    high, low = hies(his, ae, 1.0).ravel(), hies(his, ae, 0.0).ravel()
    if groups is not None:
        name = (np.arange(len(his))[:, None] * his.shape[1] + groups).ravel()
        _, which, size = np.unique(name, return_inverse=True, return_counts=True)
        high, low = (np.bincount(which, weights=end) / size for end in (high, low))
    first, second = np.triu_indices(len(high), 1)
    at_0, at_1 = low[first] - low[second], high[first] - high[second]
    crosses = at_0 * at_1 < 0
    return np.concatenate([[0.0], np.unique(at_0[crosses] / (at_0[crosses] - at_1[crosses])), [1.0]])


def plain_masks(his: np.ndarray, ae: np.ndarray, alphas: np.ndarray, some: dict) -> list[np.ndarray]:
    """The mask at each of some alphas, one after the other."""
    return [prune_mask(hies(his, ae, alpha), SPARSITY, **some) for alpha in alphas]
