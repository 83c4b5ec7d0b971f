"""Run the census and write assets/docs/ARCHITECTURES.md: `nice python -m benchmarks.census [--only NAME ...] [--again]`.

Every architecture is checked in a process of its own, forked from one that has loaded the libraries, with limits on time and
memory. Findings are kept in out/census.jsonl, so that an interrupted census continues; `--again` begins anew.
"""

import argparse
import json
import multiprocessing
import resource
import time
from collections import Counter
from pathlib import Path

import torch
import transformers

from headprune_core.model.formats.tasks import LOADERS

from .checks import Finding, check_architecture
from .tiny import architectures

ROOT = Path(__file__).resolve().parents[2]
FINDINGS, TABLE = ROOT / "out" / "census.jsonl", ROOT / "assets" / "docs" / "ARCHITECTURES.md"
SECONDS, MEMORY = 120, 8 * 2**30  # limits of one architecture
TASKS = {
    "SEQUENCE_CLASSIFICATION": "Text classification",
    "TOKEN_CLASSIFICATION": "Token classification",
    "IMAGE_CLASSIFICATION": "Image classification",
    "CAUSAL_LM": "Causal language models",
    "SEQ_TO_SEQ_CAUSAL_LM": "Text to text",
}
RESULTS = {
    "exact": "exact",
    "masking only": "exact when masked; heads cannot be removed",
    "refused": "refused",
    "not built": "not checked",
    "fault": "FAULT",
}


def isolated(task: str, name: str) -> Finding:
    """Check one architecture in a forked process."""
    receiver, sender = multiprocessing.get_context("fork").Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=_send, args=(sender, task, name))
    process.start()
    sender.close()
    try:
        values = receiver.recv() if receiver.poll(SECONDS) else None
        reason = f"took more than {SECONDS} s"
    except EOFError:
        values, reason = None, "the process ended"
    process.kill()
    process.join()
    return Finding(**values) if values else Finding(task, name, "not built", reason, seconds=SECONDS)


def _send(sender, task: str, name: str) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    transformers.utils.logging.set_verbosity_error()
    sender.send(check_architecture(task, name).as_dict())


def table(findings: list[Finding]) -> str:
    """Return the document with one row for each architecture."""
    counts, seconds = Counter(finding.result for finding in findings), sum(finding.seconds for finding in findings)
    total = ", ".join(f"{counts[result]} {words}" for result, words in RESULTS.items() if counts[result])
    lines = [
        "# Architectures",
        "",
        f"A census of Transformers {transformers.__version__} with PyTorch {torch.__version__.partition('+')[0]}: a tiny",
        "random model of every architecture is checked. HIS, AE and Gnorm are compared with a plain reference (one",
        "example at a time, eager attention, double precision), masked models with zeroed weights, pruned models with",
        "masked ones, and reloaded models with pruned ones, at two batch sizes and with padding. The tolerance is 1e-4",
        "of the largest value.",
        "",
        f"**{len(findings)} architectures: {total}.** The checks took {seconds / 60:.0f} minutes on one CPU core.",
        "",
        'Batches: "padded" unless results depend on padding ("equal lengths") or on other examples ("single").',
        '"Not checked" means that the tiny model could not be built from the default configuration; it says nothing about',
        "HeadPrune. Run `python -m benchmarks.census` to repeat the census.",
    ]
    for task in LOADERS:
        rows = sorted((f for f in findings if f.task == task), key=lambda f: f.name.casefold())
        own = Counter(finding.result for finding in rows)
        parts = ", ".join(f"{own[result]} {words}" for result, words in RESULTS.items() if own[result])
        lines += ["", f"## {TASKS[task]}", "", f"{len(rows)}: {parts}.", ""]
        lines += ["| Architecture | Result | Batches | Reason |", "|---|---|---|---|"]
        lines += [f"| {f.name} | {RESULTS[f.result]} | {f.batching} | {_cell(f)} |" for f in rows]
    return "\n".join(lines) + "\n"


def _cell(finding: Finding) -> str:
    return finding.reason.replace("|", "\\|").replace(finding.name, "it") if finding.reason else ""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.census")
    parser.add_argument("--only", nargs="+", help="class names to check and print, without writing the table")
    parser.add_argument("--again", action="store_true", help="forget earlier findings")
    parser.add_argument("--repeat", nargs="+", default=[], help="results to check again: fault, refused, ...")
    options = parser.parse_args()
    torch.set_num_threads(1)
    known = {}
    if FINDINGS.exists() and not options.again:
        known = {v["name"]: Finding(**v) for v in map(json.loads, FINDINGS.read_text().splitlines())}
    known = {name: finding for name, finding in known.items() if finding.result not in options.repeat}
    FINDINGS.parent.mkdir(exist_ok=True)
    for task, name in architectures():
        if name in (options.only or (() if name in known else (name,))):
            start = time.perf_counter()
            known[name] = finding = isolated(task, name)
            print(f"{name}: {finding.result} {finding.reason} ({time.perf_counter() - start:.1f} s)", flush=True)
            if not options.only:
                FINDINGS.write_text("".join(json.dumps(f.as_dict()) + "\n" for f in known.values()))
    if not options.only:
        TABLE.write_text(table([known[name] for _, name in architectures()]))


if __name__ == "__main__":
    main()
