"""`bench curves`: the built-in model under 72 nested masks on 500 evaluation examples, compared with the plain loop.

The plain loop is what a careful researcher writes: examples are tokenized once, in order, padded in batches of 32, and run
by the unmodified model with fused attention under inference_mode. Heads are masked by zeros in the columns of the output
projections, with one forward pass per mask and batch. The masks prune 1 to all heads in the order of HIS.
"""

import copy

import numpy as np
import torch

from headprune_core import PrunableModel, evaluate_masks, load_examples, score_heads

from . import machine

EXAMPLES, BATCH = 500, 32
REPEATS = 2


def run(device: torch.device, examples: int = EXAMPLES, removed=None, progress=None) -> dict:
    """Return the figures as one document; see `table`.

    Args:
        device: device to run on.
        examples: evaluation examples.
        removed: heads that each mask prunes; 1 to all if None.
        progress: called as progress(done, total, note) before each way.
    """
    model = PrunableModel.from_pretrained(device=device)
    plain_model = copy.deepcopy(model.model)
    plain_model.set_attn_implementation("sdpa")
    held_out = load_examples(split="evaluation", size=examples)
    masks = nested_masks(score_heads(model, load_examples(), metrics=("his",)).his, removed)
    note = f"{len(masks)} masks on {len(held_out)} examples"

    def report(done: int, way: str) -> None:
        if progress is not None:
            progress(done, 3, f"{note}, {way}")

    few = held_out.select(range(min(BATCH, len(held_out))))
    report(0, "plain")
    plain_decisions(plain_model, model.tokenizer, few["text"], masks[:1])
    predictions = []
    seconds = machine.seconds(
        lambda: predictions.append(plain_decisions(plain_model, model.tokenizer, held_out["text"], masks)), device
    )
    times = {"plain": [seconds]}
    decisions = {"plain": predictions[0]}
    for number, (label, dtype) in enumerate((("ours", None), ("ours, bf16", "bfloat16")), start=1):
        report(number, label)
        evaluate_masks(model, few, masks[:2], dtype=dtype)
        results = []
        work = lambda results=results, dtype=dtype: results.append(evaluate_masks(model, held_out, masks, dtype=dtype))  # noqa: E731
        times[label] = [machine.seconds(work, device) for _ in range(REPEATS)]
        decisions[label] = results[-1].logits.argmax(-1)
    report(3, "done")
    middle = {label: machine.median(values) for label, values in times.items()}
    different = int((decisions["ours"] != decisions["plain"]).sum())
    labels = np.array(held_out["label"])
    return {
        "machine": machine.name(device),
        "masks": len(masks),
        "examples": len(held_out),
        "seconds": {label: {"median": middle[label], "all": times[label]} for label in times},
        "faster than plain": middle["plain"] / middle["ours"],
        "faster than plain, bf16": middle["plain"] / middle["ours, bf16"],
        "decisions": int(decisions["plain"].size),
        "different decisions": different,
        "identical decisions": different == 0,
        "equal decisions, bf16": float((decisions["ours, bf16"] == decisions["ours"]).mean()),
        "largest difference of accuracy, bf16": float(
            np.abs((decisions["ours, bf16"] == labels).mean(1) - (decisions["ours"] == labels).mean(1)).max()
        ),
    }


def table(result: dict) -> str:
    """Return the figures as text."""
    times = result["seconds"]
    rows = [
        ("plain loop", times["plain"]["median"], 1.0),
        ("HeadPrune, float32", times["ours"]["median"], result["faster than plain"]),
        ("HeadPrune, bfloat16", times["ours, bf16"]["median"], result["faster than plain, bf16"]),
    ]
    lines = [f"{label:32s} {seconds:8.3f} s {ratio:8.2f}x" for label, seconds, ratio in rows]
    different = "all equal" if result["identical decisions"] else f"{result['different decisions']} differ"
    return "\n".join(
        [
            f"{result['masks']} nested masks on {result['examples']} examples of the built-in model · {result['machine']}",
            *lines,
            f"predictions, HeadPrune vs. plain loop, {result['decisions']}: {different}",
            f"predictions equal in bfloat16 and float32: {result['equal decisions, bf16']:.4f}; accuracy differs by at most "
            f"{result['largest difference of accuracy, bf16']:.4f}",
        ]
    )


def nested_masks(scores: np.ndarray, removed=None) -> np.ndarray:
    """Return masks (M, R, H), True = kept, that prune the n lowest heads for every n of `removed` (1 to all if None)."""
    order = np.argsort(scores, axis=None, kind="stable")
    place = np.empty(scores.size, int)
    place[order] = np.arange(scores.size)
    removed = range(1, scores.size + 1) if removed is None else removed
    return np.array([place >= n for n in removed]).reshape(-1, *scores.shape)


@torch.inference_mode()
def plain_decisions(model, tokenizer, texts, masks: np.ndarray) -> np.ndarray:
    """Return the classes (M, N) that a BERT classifier predicts, mask by mask and batch by batch.

    The model's weights are changed for each mask and restored at the end.
    """
    batches = [
        tokenizer(list(texts[i : i + BATCH]), padding=True, truncation=True, return_tensors="pt").to(model.device)
        for i in range(0, len(texts), BATCH)
    ]
    weights = [layer.attention.output.dense.weight for layer in model.bert.encoder.layer]
    originals = [weight.clone() for weight in weights]
    predictions = []
    for mask in masks:
        for weight, original, kept in zip(weights, originals, torch.tensor(mask), strict=True):
            columns = kept.to(weight).repeat_interleave(weight.shape[1] // len(kept))
            weight.copy_(original * columns)
        predictions.append(torch.cat([model(**batch).logits.argmax(-1) for batch in batches]).cpu().numpy())
    for weight, original in zip(weights, originals, strict=True):
        weight.copy_(original)
    return np.stack(predictions)
