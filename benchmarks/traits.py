"""`bench traits`: head traits compared with scoring AE alone, and the memory of one long text compared with plain attention.

The model is BERT-base with random weights, on 32 texts of 128 tokens. For memory, one attention call of 8,192 tokens runs
in a process of its own: plain attention, and plain attention followed by the traits of its heads.
"""

import json
import subprocess
import sys

import datasets
import numpy as np
import torch
import transformers

from headprune_core import PrunableModel, head_traits, score_heads
from headprune_core.inspection.attention_traits import attention_traits
from headprune_core.inspection.token_patterns import Stream, TokenPatterns
from headprune_core.model.attention_hooks import AttentionCall
from headprune_core.model.head_layout import AttentionRow, Projection

from . import machine

TEXTS, TOKENS = 32, 128
LONG, HEADS, SIZE = 8192, 12, 64
REPEATS = 3
WAYS = ("plain attention", "attention and its traits")
_TIME, _MEMORY = "time, times scoring AE alone", "memory, times plain attention's"


def run(device: torch.device, tokens: int = TOKENS, long: int = LONG, config=None, progress=None) -> dict:
    """Return seconds of both ways, their ratio, and bytes of both ways of attention with their ratio."""
    memory = {}  # first, because a new process inherits the peak of this one
    for way in WAYS:
        if progress is not None:
            progress(0, REPEATS + 2, f"memory of {long:,} tokens, {way}")
        command = [sys.executable, "-m", "benchmarks.traits", way, str(long), str(device)]
        memory[way] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    torch.manual_seed(0)
    config = config or transformers.BertConfig(num_labels=3)
    model = PrunableModel(transformers.BertForSequenceClassification(config).eval().to(device))
    ids = np.random.default_rng(0).integers(5, config.vocab_size, (TEXTS, tokens)).tolist()
    examples = datasets.Dataset.from_dict({"input_ids": ids})
    works = {
        "AE": lambda: score_heads(model, examples, metrics=("ae",)),
        "traits": lambda: head_traits(model, examples),
    }
    times = {name: [] for name in works}
    for repeat in range(REPEATS + 1):  # the first is a warm-up
        for name, work in works.items():
            if progress is not None:
                progress(repeat + 1, REPEATS + 2, f"{TEXTS} texts of {tokens} tokens, {name}")
            taken = machine.seconds(work, device)
            times[name] += [taken] if repeat else []
    plain, ours = (memory[way] for way in WAYS)
    best = {name: min(values) for name, values in times.items()}
    return {
        "machine": machine.name(device),
        "texts": TEXTS,
        "tokens": tokens,
        "long": long,
        "seconds": best,
        "bytes": memory,
        _TIME: best["traits"] / best["AE"],
        _MEMORY: ours / plain,
    }


def table(result: dict) -> str:
    """Return the figures as text."""
    seconds, memory = result["seconds"], result["bytes"]
    return "\n".join(
        [
            f"traits of {result['texts']} texts of {result['tokens']} tokens, BERT-base · {result['machine']}",
            f"AE alone                  {seconds['AE']:9.2f} s",
            f"traits                    {seconds['traits']:9.2f} s   {result[_TIME]:.2f}×",
            f"one text of {result['long']:,} tokens, {HEADS} heads of {SIZE}",
            *(f"{way:25s} {memory[way] / 2**20:9.0f} MiB" for way in WAYS),
            f"memory: {result[_MEMORY]:.2f}× that of plain attention",
        ]
    )


@torch.no_grad()
def measure_way(way: str, tokens: int, device: torch.device) -> int:
    """Run one of WAYS once; return the growth of peak memory in bytes."""
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, HEADS, tokens, SIZE, generator=generator).to(device) for _ in range(3))

    def work(size: int) -> None:
        parts = [tensor[:, :, :size] for tensor in (q, k, v)]
        output = torch.nn.functional.scaled_dot_product_attention(*parts)
        if way == WAYS[1]:
            call = AttentionCall(torch.nn.Module(), *parts, None, SIZE**-0.5, False, output=output.transpose(1, 2))
            attention_traits(call, _row(device), _patterns(size, device))

    work(64)  # load libraries and start threads before measuring
    before = machine.reset_peak(device) if device.type == "cuda" else machine.peak_bytes(device)
    work(tokens)
    machine.wait(device)
    return machine.peak_bytes(device) - before


def _row(device: torch.device) -> AttentionRow:
    features = np.arange(HEADS * SIZE).reshape(HEADS, SIZE)
    projection = Projection(torch.nn.Linear(HEADS * SIZE, HEADS * SIZE, device=device), features)
    return AttentionRow("attention", torch.nn.Module(), *[projection] * 4)


def _patterns(size: int, device: torch.device) -> TokenPatterns:
    ids = torch.arange(size, device=device)[None] % 100
    real = torch.ones_like(ids, dtype=torch.bool)
    stream = Stream(ids, real, ids == 0, ids < 3, torch.zeros_like(ids))
    return TokenPatterns(stream, stream)


if __name__ == "__main__":
    print(measure_way(sys.argv[1], int(sys.argv[2]), torch.device(sys.argv[3])))
