"""The parts of `benchmarks.gpu`: each measures one thing on a device and returns the rows of its table.

A row is (measurement, value, compared with, ratio), all text. `small` shrinks every size so that a CPU runs all code in
seconds; such figures mean nothing.
"""

from collections.abc import Callable
from functools import cache

import datasets
import numpy as np
import torch
import transformers
from scipy.stats import kendalltau

from headprune_core import PrunableModel, estimate_scoring, measure_latency, prune_heads, prune_mask, score_heads

from . import curves, entropy, greedy, latency, machine
from .plain_batched import PlainBatched, share_weights

Row = tuple[str, str, str, str]
METRICS = {"his": "HIS", "ae": "AE", "gnorm": "Gnorm"}
REPEATS = 3
_TINY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}


@cache
def bert(device: torch.device, small: bool):
    """BERT-base of random weights with 3 classes."""
    torch.manual_seed(0)
    with device:
        return transformers.BertForSequenceClassification(
            transformers.BertConfig(num_labels=3, **(_TINY if small else {}))
        ).eval()


@cache
def llama(device: torch.device, small: bool):
    """LLaMA language model of random weights in the shape of the 1B models: 16 layers, 32 query and 8 KV heads of 64."""
    torch.manual_seed(0)
    shape = {"hidden_size": 2048, "num_hidden_layers": 16, "num_attention_heads": 32, "intermediate_size": 8192}
    config = transformers.LlamaConfig(**(_TINY if small else shape), num_key_value_heads=2 if small else 8)
    with device:
        return transformers.LlamaForCausalLM(config).eval()


def bert_scores(device: torch.device, small: bool) -> list[Row]:
    """Scores of BERT-base against the plain batched way."""
    lengths = np.linspace(4, 12, 4) if small else np.linspace(16, 128, 64)
    return _scores(bert(device, small), lengths, device, classes=3, batch_size=32)


def llama_scores(device: torch.device, small: bool) -> list[Row]:
    """Scores of the 1B LLaMA against the plain batched way."""
    lengths = np.linspace(4, 12, 4) if small else np.linspace(64, 256, 16)
    return _scores(llama(device, small), lengths, device, classes=None, batch_size=8)


def _scores(whole, lengths: np.ndarray, device: torch.device, classes: int | None, batch_size: int) -> list[Row]:
    generator = np.random.default_rng(0)
    lengths = generator.permutation(lengths.round().astype(int))
    ids = [generator.integers(1000, whole.config.vocab_size, length).tolist() for length in lengths]
    labels = None if classes is None else generator.integers(0, classes, len(ids)).tolist()
    examples = datasets.Dataset.from_dict({"input_ids": ids} | ({} if labels is None else {"label": labels}))
    plain, model = PlainBatched(share_weights(whole)), PrunableModel(whole)
    works = {
        "float32": lambda: score_heads(model, examples, batch_size=batch_size),
        "bfloat16": lambda: score_heads(model, examples, batch_size=batch_size, dtype="bfloat16"),
        "plain": lambda: plain.scores(ids, labels, batch_size),
    }
    for work in works.values():
        work()  # the first run also packs weights and loads kernels
    measured = {way: _measure(work, device) for way, work in works.items()}
    reference = dict(zip(METRICS, measured["plain"][2], strict=True))
    rows = []
    for dtype in ("float32", "bfloat16"):
        seconds, peak, _ = measured[dtype]
        rows.append(_against(f"scores in {dtype}", seconds, "plain batched, float32", measured["plain"][0]))
        if peak:
            rows.append(_memory(f"peak memory, {dtype}", peak, "plain batched, float32", measured["plain"][1]))
        estimated = estimate_scoring(model, examples, batch_size=batch_size, dtype=None if dtype == "float32" else dtype)
        ratio = f"{estimated.seconds / seconds:.2f}×"
        rows.append((f"estimated time, {dtype}", f"{estimated.seconds:.3f} s", f"measured: {seconds:.3f} s", ratio))
        if peak:
            ratio = f"{estimated.peak_bytes / peak:.2f}×"
            measured_text = f"measured: {peak / 2**20:.0f} MiB"
            rows.append((f"estimated memory, {dtype}", f"{estimated.peak_bytes / 2**20:.0f} MiB", measured_text, ratio))
    full, low = measured["float32"][2], measured["bfloat16"][2]
    errors = {name: _error(getattr(full, metric), reference[metric].numpy()) for metric, name in METRICS.items()}
    taus = {name: _kendall(getattr(full, metric), getattr(low, metric)) for metric, name in METRICS.items()}
    rows.append(("Kendall's τ of the rankings, bfloat16", _listed(taus, ".3f"), "float32", ""))
    rows.append(("largest relative difference, float32", _listed(errors, ".1e"), "plain batched, float32", ""))
    return rows


def long_entropy(device: torch.device, small: bool) -> list[Row]:
    """Entropy of one long sequence against plain attention and the explicit softmax."""
    tokens = 256 if small else entropy.TOKENS
    rows, plain = [], None
    for way in entropy.WAYS:
        try:
            result = entropy.measure_way(way, tokens, device)
        except torch.OutOfMemoryError:
            rows.append((f"{way}, {tokens:,} tokens", "does not fit in memory", "", ""))
            continue
        plain = plain or result
        rows.append(_against(f"{way}, {tokens:,} tokens", result["seconds"], "plain attention", plain["seconds"]))
        if device.type == "cuda":
            rows.append(_memory(f"{way}, memory", result["bytes"], "plain attention", plain["bytes"]))
    return rows


def many_masks(device: torch.device, small: bool) -> list[Row]:
    """Curves: 72 nested masks of the built-in model on 500 examples against the plain loop."""
    result = curves.run(device, 8, (1, 36)) if small else curves.run(device)
    seconds = {way: values["median"] for way, values in result["seconds"].items()}
    what = f"{result['masks']} masks on {result['examples']} examples"
    different = f"{result['different decisions']} of {result['decisions']} differ"
    return [
        _against(f"{what}, float32", seconds["ours"], "plain loop", seconds["plain"]),
        _against(f"{what}, bfloat16", seconds["ours, bf16"], "plain loop", seconds["plain"]),
        ("predictions, float32", different, "plain loop", ""),
        ("predictions, bfloat16", f"{result['equal decisions, bf16']:.4f} are equal", "float32", ""),
    ]


def greedy_steps(device: torch.device, small: bool) -> list[Row]:
    """The first steps of Greedy-Gnorm on BERT-base against the plain way."""
    result = greedy.run(device, 2, transformers.BertConfig(num_labels=3, **_TINY)) if small else greedy.run(device)
    seconds = {way: values["median"] for way, values in result["seconds"].items()}
    plain, tau = "plain, one sentence at a time", result["rank agreement of bf16, first scores (Kendall)"]
    return [
        _against(f"{result['steps']} steps, float32", seconds["ours"], plain, seconds["plain"]),
        _against(f"{result['steps']} steps, bfloat16", seconds["ours, bf16"], plain, seconds["plain"]),
        ("pruning order, float32", "identical" if result["same order"] else "NOT identical", plain, ""),
        ("Kendall's τ of the first scores, bfloat16", f"{tau:.3f}", "float32", ""),
    ]


def pruned_latency(device: torch.device, small: bool) -> list[Row]:
    """Latency of the built-in model at 0% and 50% sparsity."""
    sizes = {"batches": (1,), "tokens": (8,), "repeats": 1} if small else {"batches": (1, 32), "tokens": (128,)}
    result = latency.run(device, sparsities=(0.0, 0.5), **sizes)
    return [
        _speedup(f"{float(sparsity):.0%} sparsity", line)
        for sparsity, values in result["models"].items()
        for line in values["latency"]
    ]


def pruned_llama_latency(device: torch.device, small: bool) -> list[Row]:
    """Latency of the 1B LLaMA with half of its KV groups pruned."""
    model = PrunableModel(llama(device, small))
    ranking = np.random.default_rng(0).random(model.grid.shape)
    pruned = prune_heads(model, prune_mask(ranking, 0.5, groups=model.grid.kv_group, uniform=True))
    frame = measure_latency(
        pruned,
        compare=model,
        batch_sizes=(1,) if small else (1, 8),
        sequence_length=8 if small else 512,
        repeats=1 if small else 5,
    )
    return [_speedup("50% sparsity, whole KV groups", line) for line in frame.to_dict(orient="records")]


PARTS: dict[str, tuple[Callable[[torch.device, bool], list[Row]], float]] = {  # name: (function, its time limit in seconds)
    "Scores of BERT-base": (bert_scores, 90),
    "Scores of a 1B LLaMA": (llama_scores, 120),
    "Entropy": (long_entropy, 60),
    "Curves of the built-in model": (many_masks, 90),
    "Greedy-Gnorm on BERT-base": (greedy_steps, 90),
    "Latency of the built-in model": (pruned_latency, 60),
    "Latency of a 1B LLaMA": (pruned_llama_latency, 60),
}


def _measure(work: Callable[[], object], device: torch.device):
    """(median seconds, peak bytes or None on the CPU, last result) of `work`, run REPEATS times."""
    times, results = [], []
    before = machine.reset_peak(device)
    for _ in range(REPEATS):
        times.append(machine.seconds(lambda: results.append(work()), device))
    peak = machine.peak_bytes(device) - before if device.type == "cuda" else None
    return machine.median(times), peak, results[-1]


def _against(what: str, seconds: float, other: str, other_seconds: float) -> Row:
    return what, f"{seconds:.3f} s", f"{other}: {other_seconds:.3f} s", f"speedup {other_seconds / seconds:.2f}×"


def _memory(what: str, size: int, other: str, other_size: int) -> Row:
    return what, f"{size / 2**20:.0f} MiB", f"{other}: {other_size / 2**20:.0f} MiB", f"{size / other_size:.2f}×"


def _speedup(what: str, line: dict) -> Row:
    setting = f"{what}, batch of {line['batch_size']}, {line['sequence_length']} tokens"
    unpruned = f"unpruned: {1000 * line['compare_seconds']:.2f} ms"
    interval = f"IQR {line['speedup_low']:.2f} to {line['speedup_high']:.2f}"
    ratio = f"speedup {line['speedup']:.2f}× ({interval}; by FLOPs {line['flops_ratio']:.2f}×)"
    return setting, f"{1000 * line['seconds']:.2f} ms", unpruned, ratio


def _listed(values: dict[str, float], form: str) -> str:
    return ", ".join(f"{name} {value:{form}}" for name, value in values.items())


def _error(values: np.ndarray, reference: np.ndarray) -> float:
    return float((np.abs(values - reference) / np.abs(reference)).max())


def _kendall(first: np.ndarray, second: np.ndarray) -> float:
    return float(kendalltau(first.ravel(), second.ravel()).statistic)
