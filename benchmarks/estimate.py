"""`bench estimate`: estimated and measured cost of scoring, evaluation and recovery fine-tuning, on several kinds of models.

Each case runs in its own process, so that its peak memory can be measured.
"""

import json
import subprocess
import sys
import time

import datasets
import numpy as np
import torch
import transformers as t

from headprune_core import (
    PrunableModel,
    estimate_evaluation,
    estimate_recovery,
    estimate_scoring,
    evaluate_masks,
    load_examples,
    recover,
    score_heads,
)

from . import machine

CASES = {  # case: (examples, tokens per example, dtype)
    "built-in": (128, 0, None),
    "bert": (32, 64, None),
    "bert, long sequences": (8, 512, None),
    "bert, bfloat16": (32, 64, "bfloat16"),
    "llama, vocabulary of 49152": (16, 64, None),
    "t5": (16, 64, None),
    "vit": (8, 0, None),
}
EVALUATED = {  # case: (examples, tokens per example, random masks, dtype)
    "built-in, evaluation": (128, 0, 20, None),
    "bert, evaluation": (32, 64, 8, None),
    "bert, evaluation, bfloat16": (32, 64, 8, "bfloat16"),
    "llama, evaluation": (16, 64, 4, None),
    "t5, evaluation": (16, 64, 4, None),
}
RECOVERED = {  # case: (objective, dtype), for STEPS steps of 32 examples; random ones have 64 tokens
    "built-in, fine-tuning": ("labels", None),
    "built-in, fine-tuning, bfloat16": ("labels", "bfloat16"),
    "built-in, distillation, bfloat16": ("teacher", "bfloat16"),
    "bert, fine-tuning, bfloat16": ("labels", "bfloat16"),
}
STEPS = 20
_SMALL_LLAMA = {"hidden_size": 576, "intermediate_size": 1536, "num_attention_heads": 9, "num_key_value_heads": 3}
BUILD = {
    "bert": lambda: t.BertForSequenceClassification(t.BertConfig(num_labels=3, num_hidden_layers=6)),
    "llama": lambda: t.LlamaForCausalLM(t.LlamaConfig(**_SMALL_LLAMA, num_hidden_layers=8, vocab_size=49152)),
    "t5": lambda: t.T5ForConditionalGeneration(t.T5Config(num_layers=4, decoder_start_token_id=0)),
    "vit": lambda: t.ViTForImageClassification(t.ViTConfig(num_hidden_layers=4)),
}


def run(device: torch.device, progress=None) -> dict:
    """Return estimates and measurements by case."""
    cases = {}
    for number, case in enumerate(names := [*CASES, *EVALUATED, *RECOVERED]):
        if progress is not None:
            progress(number, len(names), case)
        command = [sys.executable, "-m", "benchmarks.estimate", case, str(device)]
        cases[case] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return {"machine": machine.name(device), "cases": cases}


def table(result: dict) -> str:
    """Return the figures as text."""
    head = (
        f"{'':34s} {'seconds':>17s} {'ratio':>6s} {'MiB':>15s} {'ratio':>6s}    estimated / measured · {result['machine']}"
    )
    lines = [
        f"{case:34s} {v['seconds said']:7.2f} / {v['seconds']:7.2f} {v['seconds said'] / v['seconds']:6.2f} "
        f"{v['bytes said'] / 2**20:6.0f} / {v['bytes'] / 2**20:6.0f} {v['bytes said'] / v['bytes']:6.2f}"
        for case, v in result["cases"].items()
    ]
    return "\n".join([head, *lines])


def _one(case: str, device: torch.device) -> dict:
    kind = _recovery if case in RECOVERED else _evaluation if case in EVALUATED else _scoring
    estimated, work = kind(case, device)
    before = machine.reset_peak(device)
    start = time.perf_counter()
    seconds = work()
    machine.wait(device)
    seconds = seconds or time.perf_counter() - start
    return {
        "seconds said": estimated.seconds,
        "seconds": seconds,
        "bytes said": estimated.peak_bytes,
        "bytes": machine.peak_bytes(device) - before,
    }


def _scoring(case: str, device: torch.device):
    count, tokens, dtype = CASES[case]
    model, examples = _built(case.split(",")[0], count, tokens, device)
    score_heads(model, examples.select([0]), dtype=dtype)

    def work() -> None:
        score_heads(model, examples, dtype=dtype)

    return estimate_scoring(model, examples, dtype=dtype), work


def _evaluation(case: str, device: torch.device):
    count, tokens, n_masks, dtype = EVALUATED[case]
    model, examples = _built(case.split(",")[0], count, tokens, device)
    masks = np.random.default_rng(0).random((n_masks, *model.grid.shape)) < 0.5
    evaluate_masks(model, examples.select([0]), masks[:1], dtype=dtype)

    def work() -> None:
        evaluate_masks(model, examples, masks, dtype=dtype)

    return estimate_evaluation(model, examples, masks, dtype=dtype), work


def _recovery(case: str, device: torch.device):
    objective, dtype = RECOVERED[case]
    model, examples = _built(case.split(",")[0], 32 * STEPS, 64, device)
    options = {"steps": STEPS, "objective": objective, "dtype": dtype}

    def work() -> float:
        return recover(model, examples, teacher=model, **options)[1].seconds

    return estimate_recovery(model, examples, **options), work


def _built(kind: str, count: int, tokens: int, device: torch.device):
    if kind == "built-in":
        return PrunableModel.from_pretrained(device=device), load_examples(split="training", size=count)
    model = PrunableModel(BUILD[kind]().eval().to(device))
    generator = np.random.default_rng(0)
    columns = {"label": [0] * count}
    if kind == "vit":
        columns["pixel_values"] = [generator.normal(size=(3, 224, 224)).astype(np.float32) for _ in range(count)]
    else:
        columns["input_ids"] = generator.integers(1000, 30000, (count, tokens)).tolist()
        columns["target_ids"] = generator.integers(1000, 30000, (count, tokens // 2)).tolist()
    return model, datasets.Dataset.from_dict(columns)


if __name__ == "__main__":
    print(json.dumps(_one(sys.argv[1], torch.device(sys.argv[2]))))
