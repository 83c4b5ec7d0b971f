"""`bench greedy`: the first steps of Greedy-Gnorm on BERT-base with random weights, compared with two plain ways.

Both process one sentence at a time with eager attention, one forward pass per step for all layers, and zeros in the columns
of pruned heads. The usual way computes gradients of every weight, as a training script does; the careful way only those of
the Q, K and V weights, which are all that the score needs. The usual way is timed on two steps and scaled.
"""

import copy

import datasets
import numpy as np
import torch
import transformers
from scipy.stats import kendalltau

from headprune_core import PrunableModel, greedy_gnorm

from . import machine
from .plain import PlainBert

SENTENCES, SHORTEST, LONGEST = 32, 12, 64
STEPS, TIMED = 8, 2


def run(device: torch.device, steps: int = STEPS, config=None, progress=None) -> dict:
    """Return the figures as one document; see `table`.

    Args:
        device: device to run on.
        steps: steps of Greedy-Gnorm, one head each.
        config: BERT configuration; BERT-base if None.
        progress: called as progress(done, total, note) before each way.
    """
    torch.manual_seed(0)
    config = config or transformers.BertConfig(num_labels=3)
    unpruned = transformers.BertForSequenceClassification(config).eval().to(device)
    generator = np.random.default_rng(0)
    lengths = generator.permutation(np.linspace(SHORTEST, LONGEST, SENTENCES).round().astype(int))
    ids = [generator.integers(5, config.vocab_size, length).tolist() for length in lengths]
    examples = datasets.Dataset.from_dict({"input_ids": ids})
    sentences = [torch.tensor(row, device=device) for row in ids]
    model, results = PrunableModel(copy.deepcopy(unpruned)), {}
    works = {
        "plain": lambda: plain_greedy(copy.deepcopy(unpruned), sentences, TIMED, every_weight=True),
        "plain, only Q, K and V": lambda: plain_greedy(copy.deepcopy(unpruned), sentences, steps),
        "ours": lambda: greedy_gnorm(model, examples, steps=steps),
        "ours, bf16": lambda: greedy_gnorm(model, examples, steps=steps, dtype="bfloat16"),
    }
    warm = {
        "ours": lambda: greedy_gnorm(model, examples, steps=1),
        "ours, bf16": lambda: greedy_gnorm(model, examples, steps=1, dtype="bfloat16"),
    }
    times = {}
    for number, (label, work) in enumerate(works.items()):
        if progress is not None:
            progress(number, len(works), f"{steps} greedy steps, {label}")
        warm.get(label, lambda: plain_greedy(copy.deepcopy(unpruned), sentences[:2], 1))()
        repeats = 2 if label in warm else 1
        times[label] = [
            machine.seconds(lambda label=label, work=work: results.update({label: work()}), device) for _ in range(repeats)
        ]
    times["plain"] = [steps / TIMED * seconds for seconds in times["plain"]]
    if progress is not None:
        progress(len(works), len(works), "done")
    middle = {label: machine.median(values) for label, values in times.items()}
    order, scores = results["plain, only Q, K and V"]
    ours, low = results["ours"], results["ours, bf16"]
    kept = [~np.isnan(reference) for reference in scores]
    return {
        "machine": machine.name(device),
        "sentences": SENTENCES,
        "tokens": int(lengths.sum()),
        "steps": steps,
        "seconds": {label: {"median": middle[label], "all": times[label]} for label in works},
        "steps of plain that were timed": TIMED,
        "faster than plain": middle["plain"] / middle["ours"],
        "faster than plain, bf16": middle["plain"] / middle["ours, bf16"],
        "faster than only Q, K and V": middle["plain, only Q, K and V"] / middle["ours"],
        "faster than only Q, K and V, bf16": middle["plain, only Q, K and V"] / middle["ours, bf16"],
        "order": [[int(row), int(head)] for row, head in ours.order],
        "same order": [tuple(map(int, head)) for head in ours.order] == order,
        "same order, bf16": [tuple(map(int, head)) for head in low.order] == order,
        "largest relative difference from plain": max(
            float(np.abs(mine[some] / reference[some] - 1).max())
            for mine, reference, some in zip(ours.scores, scores, kept, strict=True)
        ),
        "rank agreement of bf16, first scores (Kendall)": float(
            kendalltau(low.scores[0].ravel(), ours.scores[0].ravel()).statistic
        ),
    }


def table(result: dict) -> str:
    """Return the figures as text."""
    times, steps = result["seconds"], result["steps"]
    rows = [
        (
            f"plain ({result['steps of plain that were timed']} steps timed, for {steps})",
            times["plain"]["median"],
            1.0,
            None,
        ),
        ("plain, gradients of Q, K, V only", times["plain, only Q, K and V"]["median"], None, 1.0),
        *(
            (label, times[way]["median"], result[f"faster than plain{low}"], result[f"faster than only Q, K and V{low}"])
            for label, way, low in (("HeadPrune, float32", "ours", ""), ("HeadPrune, bfloat16", "ours, bf16", ", bf16"))
        ),
    ]
    first, second = rows[0][1] / rows[1][1], rows[1][1] / rows[0][1]
    lines = [
        f"{label:36s} {seconds:8.3f} s {second if one is None else one:8.2f}x {first if other is None else other:8.2f}x"
        for label, seconds, one, other in rows
    ]
    orders = {True: "identical", False: "NOT identical"}
    return "\n".join(
        [
            f"{steps} steps of Greedy-Gnorm on BERT-base, {result['sentences']} sentences, {result['tokens']} tokens · "
            f"{result['machine']}",
            f"{'':47s} vs. plain, vs. plain with Q, K, V only",
            *lines,
            f"pruning order: {orders[result['same order']]} in float32, {orders[result['same order, bf16']]} in bfloat16",
            f"largest relative difference of S(n) from plain: {result['largest relative difference from plain']:.1e}",
            "Kendall's τ of bfloat16 and float32 rankings at the first step: "
            f"{result['rank agreement of bf16, first scores (Kendall)']:.3f}",
        ]
    )


def plain_greedy(model, sentences, steps: int, every_weight: bool = False):
    """Return (order, scores (R, H) before each step): lowest first, ties by (row, head), rescored at every step."""
    plain = PlainBert(model)
    order, scores = [], []
    for _ in range(steps):
        current = plain.gnorm(sentences, every_weight).numpy()
        for head in order:
            current[head] = np.nan
        scores.append(current)
        row, head = divmod(int(np.nanargmin(current)), current.shape[1])
        order.append((row, head))
        plain.mask_head(row, head)
    return order, scores
