"""`bench entropy`: attention entropy of one long sequence, compared with plain attention and with the explicit softmax.

Each way runs in its own process, so that its peak memory can be measured. HeadPrune's way is what scoring does: the
attention that the model needs anyway, followed by its entropy.
"""

import json
import subprocess
import sys
import time

import torch

from headprune_core.model.attention_hooks import AttentionCall
from headprune_core.scores.entropy import attention_entropy

from . import machine

TOKENS, HEADS, SIZE = 8192, 12, 64
_TIME, _MEMORY = "time, times plain attention's", "memory, times plain attention's"
_SHARE = "memory, share of the explicit softmax's"
WAYS = ("plain attention", "attention and its entropy", "explicit softmax and its entropy")


def run(device: torch.device, tokens: int = TOKENS, progress=None) -> dict:
    """Measure seconds and bytes of each way; return them with their ratios."""
    ways = {}
    for number, way in enumerate(WAYS):
        if progress is not None:
            progress(number, len(WAYS), way)
        command = [sys.executable, "-m", "benchmarks.entropy", way, str(tokens), str(device)]
        ways[way] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    plain, ours, explicit = (ways[way] for way in WAYS)
    return {
        "machine": machine.name(device),
        "tokens": tokens,
        "heads": HEADS,
        "ways": ways,
        _TIME: ours["seconds"] / plain["seconds"],
        _MEMORY: ours["bytes"] / plain["bytes"],
        _SHARE: ours["bytes"] / explicit["bytes"],
        "largest difference, nats": max(abs(a - b) for a, b in zip(ours["entropy"], explicit["entropy"], strict=True)),
    }


def table(result: dict) -> str:
    """Return the figures as text."""
    lines = [f"{way:34s} {v['seconds']:8.2f} s {v['bytes'] / 2**20:9.0f} MiB" for way, v in result["ways"].items()]
    return "\n".join(
        [
            f"entropy of {result['tokens']} tokens, {result['heads']} heads of {SIZE} · {result['machine']}",
            *lines,
            f"attention and its entropy: {result[_TIME]:.2f}× the time of plain attention, {result[_MEMORY]:.2f}× its "
            f"memory, 1/{1 / result[_SHARE]:.0f} of the memory of the explicit softmax",
            f"largest difference from the explicit softmax: {result['largest difference, nats']:.1e} nats",
        ]
    )


def measure_way(way: str, tokens: int, device: torch.device) -> dict:
    """Run one of WAYS once; return its seconds, the growth of peak memory in bytes, and the entropy of each head."""
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, HEADS, tokens, SIZE, generator=generator).to(device) for _ in range(3))
    call = AttentionCall(torch.nn.Module(), q, k, v, None, SIZE**-0.5, False)

    def work(q, k, v, call):
        if way == "explicit softmax and its entropy":
            a = (SIZE**-0.5 * q @ k.transpose(-1, -2)).softmax(-1)
            return a @ v, torch.special.entr(a).sum(-1).mean(-1)
        output = torch.nn.functional.scaled_dot_product_attention(q, k, v)
        return output, attention_entropy(call, None) if way == "attention and its entropy" else None

    with torch.no_grad():
        few = [t[:, :, :64] for t in (q, k, v)]  # warm-up: load libraries and start threads before timing
        work(*few, AttentionCall(call.module, *few, None, call.scale, False))
        before = machine.reset_peak(device) if device.type == "cuda" else machine.peak_bytes(device)
        machine.wait(device)
        start = time.perf_counter()
        _, entropy = work(q, k, v, call)
        machine.wait(device)
        seconds = time.perf_counter() - start
        values = [] if entropy is None else entropy.flatten().tolist()
    return {"seconds": seconds, "bytes": machine.peak_bytes(device) - before, "entropy": values}


if __name__ == "__main__":
    print(json.dumps(measure_way(sys.argv[1], int(sys.argv[2]), torch.device(sys.argv[3]))))
