"""`bench scores`: all three scores of BERT-base with random weights on 32 sentences of 12 to 64 tokens, against plain code.

Reports the speedup, the share of the machine's matrix-product rate that HeadPrune reaches, bfloat16 with its rank agreement,
and the published notebooks' way (one pass over the data per layer). Every line is from one run.
"""

import copy

import datasets
import numpy as np
import torch
import transformers
from scipy.stats import kendalltau

from headprune_core import PrunableModel, score_heads

from . import machine
from .plain import PlainBert

SENTENCES, SHORTEST, LONGEST = 32, 12, 64
_PACKED = "share of the packed product's rate"


def run(device: torch.device, repeats: int = 3, progress=None) -> dict:
    """Return the figures as one document; see `table`."""
    torch.manual_seed(0)
    config = transformers.BertConfig(num_labels=3)
    unpruned = transformers.BertForSequenceClassification(config).eval().to(device)
    generator = np.random.default_rng(0)
    lengths = generator.permutation(np.linspace(SHORTEST, LONGEST, SENTENCES).round().astype(int))
    ids = [generator.integers(1000, config.vocab_size, length).tolist() for length in lengths]
    labels = generator.integers(0, 3, SENTENCES).tolist()
    examples = datasets.Dataset.from_dict({"input_ids": ids, "label": labels})
    plain = PlainBert(copy.deepcopy(unpruned))
    model = PrunableModel(unpruned)
    tensors = [torch.tensor(row, device=device) for row in ids], list(torch.tensor(labels, device=device))
    product, product_flops = machine.matrix_product(torch.float32, device)
    packed, _ = machine.packed_product(torch.float32, device)
    product16, _ = machine.matrix_product(torch.bfloat16, device)
    works = {
        "matrix product": product,
        "matrix product, packed": packed,
        "ours": lambda: score_heads(model, examples),
        "matrix product, bf16": product16,
        "ours, bf16": lambda: score_heads(model, examples, dtype="bfloat16"),
        "plain": lambda: plain.scores(*tensors),
    }
    times = machine.interleaved(works, repeats, device)
    best = {label: min(values) for label, values in times.items()}
    middle = {label: machine.median(values) for label, values in times.items()}
    flops = machine.flops(works["ours"])
    mine, low, reference = works["ours"](), works["ours, bf16"](), works["plain"]()
    # All layers cost the same, so two are timed and scaled to twelve.
    two = machine.seconds(lambda: plain.layer_by_layer(*tensors, layers=(0, 6)), device)
    errors = {m: _error(getattr(mine, m), r.numpy()) for m, r in zip(("his", "ae", "gnorm"), reference, strict=True)}
    agreement = {m: _kendall(getattr(mine, m), getattr(low, m)) for m in ("his", "ae", "gnorm")}
    return {
        "machine": machine.name(device),
        "sentences": SENTENCES,
        "tokens": int(lengths.sum()),
        "seconds": {label: {"median": middle[label], "all": times[label]} for label in works},
        "faster than plain": middle["plain"] / middle["ours"],
        "faster than plain, bf16": middle["plain"] / middle["ours, bf16"],
        "faster than layer by layer": two / 2 * config.num_hidden_layers / middle["ours"],
        "teraflop": flops / 1e12,
        "gigaflop/s": flops / middle["ours"] / 1e9,
        "matrix product gigaflop/s": product_flops / middle["matrix product"] / 1e9,
        "packed product gigaflop/s": product_flops / middle["matrix product, packed"] / 1e9,
        "share of the matrix-product rate": flops / middle["ours"] / (product_flops / middle["matrix product"]),
        _PACKED: flops / middle["ours"] * middle["matrix product, packed"] / product_flops,
        "share at the best of the runs": flops / best["ours"] / (product_flops / best["matrix product"]),
        "largest relative difference from plain": errors,
        "rank agreement of bf16 (Kendall)": agreement,
    }


def table(result: dict) -> str:
    """Return the figures as text."""
    times = result["seconds"]
    kendall = ", ".join(f"{m} {k:.3f}" for m, k in result["rank agreement of bf16 (Kendall)"].items())
    errors = ", ".join(f"{m} {e:.1e}" for m, e in result["largest relative difference from plain"].items())
    rows = [
        ("plain, one sentence at a time", times["plain"]["median"], 1.0),
        ("HeadPrune, float32", times["ours"]["median"], result["faster than plain"]),
        ("HeadPrune, bfloat16", times["ours, bf16"]["median"], result["faster than plain, bf16"]),
    ]
    lines = [f"{label:32s} {seconds:8.3f} s {ratio:8.2f}x" for label, seconds, ratio in rows]
    return "\n".join(
        [
            f"scores of BERT-base, {result['sentences']} sentences, {result['tokens']} tokens · {result['machine']}",
            *lines,
            f"vs. published notebooks (one pass per layer): {result['faster than layer by layer']:.1f}x faster",
            f"HeadPrune: {result['gigaflop/s']:.0f} GFLOP/s, {result['share of the matrix-product rate']:.2f} of the "
            f"{result['matrix product gigaflop/s']:.0f} of a matrix product, {result[_PACKED]:.2f} of the "
            f"{result['packed product gigaflop/s']:.0f} of one with packed weights",
            f"Kendall's τ of bfloat16 and float32 rankings: {kendall}",
            f"largest relative difference from the plain scores: {errors}",
        ]
    )


def _error(mine: np.ndarray, reference: np.ndarray) -> float:
    return float((np.abs(mine - reference) / np.abs(reference)).max())


def _kendall(first: np.ndarray, second: np.ndarray) -> float:
    return float(kendalltau(first.ravel(), second.ravel()).statistic)
