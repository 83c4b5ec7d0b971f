"""`bench latency`: the built-in model at 0%, 30%, 50% and 70% sparsity (by HIS), run in turn with the unpruned model.

Everything is from one run. At 0% the two are copies of one model: the control, whose ratio should be 1. Each measured
speedup is reported with the theoretical speedup (the ratio of FLOPs).
"""

import pandas as pd
import torch

from headprune_core import (
    PrunableModel,
    describe_latency,
    load_examples,
    measure_latency,
    parameter_table,
    prune_heads,
    prune_mask,
    score_heads,
)

from . import machine

SPARSITIES = (0.0, 0.3, 0.5, 0.7)
BATCHES, TOKENS = (1, 8, 32), (32, 128)
REPEATS = 15


def run(device: torch.device, sparsities=SPARSITIES, batches=BATCHES, tokens=TOKENS, repeats=REPEATS, progress=None) -> dict:
    """Return the figures as one document; see `table`."""
    model = PrunableModel.from_pretrained(device=device)
    scores = score_heads(model, load_examples(), metrics=("his",)).his
    models = {}
    for number, sparsity in enumerate(sparsities):
        pruned = prune_heads(model, prune_mask(scores, sparsity))

        def report(done: int, total: int, note: str, number: int = number, sparsity: float = sparsity) -> None:
            if progress is not None:
                progress(number * total + done, len(sparsities) * total, f"{sparsity:.0%} sparsity. {note}")

        frame = measure_latency(
            pruned, batch_sizes=batches, sequence_length=tokens, compare=model, repeats=repeats, progress=report
        )
        sizes = parameter_table(model, pruned).iloc[0]
        models[f"{sparsity:g}"] = {
            "size_mib": float(sizes.size_mib_after),
            "parameters": int(sizes.parameters_after),
            "latency": frame.to_dict(orient="records"),
            "words": describe_latency(frame),
        }
    return {"machine": machine.name(device), "models": models}


def table(result: dict) -> str:
    """Return the figures as text."""
    names = {
        "tokens": "sequence_length",
        "batch": "batch_size",
        "before ms": "compare_seconds",
        "after ms": "seconds",
        "examples/s": "examples_per_second",
        "memory MiB": "memory_mib",
        "speedup": "speedup",
        "low": "speedup_low",
        "high": "speedup_high",
        "by FLOPs": "flops_ratio",
    }
    parts = [
        pd.DataFrame(values["latency"]).assign(sparsity=f"{float(sparsity):.0%}", size=values["size_mib"])
        for sparsity, values in result["models"].items()
    ]
    frame = pd.concat(parts)
    shown = pd.DataFrame(
        {"sparsity": frame.sparsity, "MiB": frame["size"]} | {name: frame[column] for name, column in names.items()}
    )
    for name in ("before ms", "after ms"):
        shown[name] *= 1000
    lines = shown.to_string(index=False, float_format="%.2f")
    return f"the built-in model at several sparsities, in turn with the unpruned model · {result['machine']}\n{lines}"
