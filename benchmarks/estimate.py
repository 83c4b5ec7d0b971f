"""`bench estimate`: what scoring and recovery were said to take, beside what they took, on models of several kinds.

Each case runs in a process of its own, where the growth of its peak memory can be told.
"""

import json
import resource
import subprocess
import sys
import time

import datasets
import numpy as np
import psutil
import torch
import transformers as t

from headprune_core import PrunableModel, estimate_recovery, estimate_scoring, load_examples, recover, score_heads

from . import machine

CASES = {  # kind: (how many examples, of how many tokens, dtype)
    "embedded": (128, 0, None),
    "bert": (32, 64, None),
    "bert, long texts": (8, 512, None),
    "bert, bfloat16": (32, 64, "bfloat16"),
    "llama, vocabulary of 49152": (16, 64, None),
    "t5": (16, 64, None),
    "vit": (8, 0, None),
}
RECOVERED = {  # kind: (what is learned from, dtype), in STEPS updates of 32 examples, of 64 tokens where they are random
    "embedded, recovery": ("labels", None),
    "embedded, recovery, bfloat16": ("labels", "bfloat16"),
    "embedded, recovery by a teacher": ("teacher", "bfloat16"),
    "bert, recovery, bfloat16": ("labels", "bfloat16"),
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
    """Estimates, measurements and their ratios by case."""
    cases = {}
    for number, case in enumerate(names := [*CASES, *RECOVERED]):
        if progress is not None:
            progress(number, len(names), case)
        command = [sys.executable, "-m", "benchmarks.estimate", case, str(device)]
        cases[case] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return {"machine": machine.name(device), "cases": cases}


def table(result: dict) -> str:
    """The figures for people."""
    head = f"{'':31s} {'seconds':>17s} {'ratio':>6s} {'MB':>15s} {'ratio':>6s}    said / measured · {result['machine']}"
    lines = [
        f"{case:31s} {v['seconds said']:7.2f} / {v['seconds']:7.2f} {v['seconds said'] / v['seconds']:6.2f} "
        f"{v['bytes said'] / 2**20:6.0f} / {v['bytes'] / 2**20:6.0f} {v['bytes said'] / v['bytes']:6.2f}"
        for case, v in result["cases"].items()
    ]
    return "\n".join([head, *lines])


def _one(case: str, device: torch.device) -> dict:
    said, work = (_recovery if case in RECOVERED else _scoring)(case, device)
    before = _now(device)
    start = time.perf_counter()
    seconds = work() or time.perf_counter() - start
    return {"seconds said": said.seconds, "seconds": seconds, "bytes said": said.peak_bytes, "bytes": _peak(device) - before}


def _scoring(case: str, device: torch.device):
    count, tokens, dtype = CASES[case]
    model, examples = _built(case.split(",")[0], count, tokens, device)
    score_heads(model, examples.select([0]), dtype=dtype)

    def work() -> None:
        score_heads(model, examples, dtype=dtype)

    return estimate_scoring(model, examples, dtype=dtype), work


def _recovery(case: str, device: torch.device):
    objective, dtype = RECOVERED[case]
    model, examples = _built(case.split(",")[0], 32 * STEPS, 64, device)
    options = {"steps": STEPS, "objective": objective, "dtype": dtype}

    def work() -> float:
        return recover(model, examples, teacher=model, **options)[1].seconds

    return estimate_recovery(model, examples, **options), work


def _built(kind: str, count: int, tokens: int, device: torch.device):
    if kind == "embedded":
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


def _now(device: torch.device) -> int:
    return torch.cuda.memory_allocated() if device.type == "cuda" else psutil.Process().memory_info().rss


def _peak(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


if __name__ == "__main__":
    print(json.dumps(_one(sys.argv[1], torch.device(sys.argv[2]))))
