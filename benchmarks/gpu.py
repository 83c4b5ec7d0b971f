"""`bench gpu`: everything that only a GPU can answer, in one run of at most 8 minutes, as one Markdown table.

    python benchmarks/gpu.py        (or: python -m benchmarks.gpu, or: headprune bench gpu)

The parts run one after the other in a worker process, each with a time limit. A part that fails or takes too long gives a
row with the error, and a new worker goes on with the next part. Without a GPU it prints one sentence and exits with 0.
"""

import argparse
import json
import queue
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if not __package__:  # run as a file: Python has put this folder, not the project's, on the path
    sys.path[0] = str(ROOT)

import torch  # noqa: E402  (the path must be set first)

from benchmarks import machine  # noqa: E402

LIMIT = 460.0  # seconds for all parts, below 8 minutes by what starting and stopping take
START = 40.0  # seconds that a worker may need to start, added to the limit of its first part
SHORTEST = 5.0  # seconds below which no further part is started
NO_GPU = "No GPU was found: PyTorch reports no CUDA device, so nothing was measured."


def run(
    device: torch.device | None = None, *, small: bool = False, limit: float = LIMIT, progress=None, command=None
) -> dict:
    """Run all parts and return the figures as one document; see `table`.

    Args:
        device: a CUDA device. Any other is replaced by the first GPU unless `small` is set.
        small: use tiny sizes, which also run on a CPU, to test the code.
        limit: seconds for all parts together.
        progress: called as progress(done, total, note) before each part.
        command: command line of the worker, for tests; the names of the parts to run are appended.

    Returns:
        machine, seconds (of the whole run) and parts: by name either rows or an error.
    """
    if not small and (device is None or device.type != "cuda"):
        if not torch.cuda.is_available():
            return {"machine": None, "seconds": 0.0, "parts": {}}
        device = torch.device("cuda")
    from benchmarks.gpu_parts import PARTS  # imports the engine, which takes seconds and is useless without a GPU

    device = device or torch.device("cpu")
    command = command or [sys.executable, "-m", "benchmarks.gpu", "--device", str(device), *["--small"] * small, "--worker"]
    start = time.monotonic()
    pending, results = list(PARTS), {}
    while pending and start + limit - time.monotonic() > SHORTEST:
        worker, allowance = _Worker([*command, *pending]), START
        try:
            while pending:
                name = pending[0]
                if progress is not None:
                    progress(len(results), len(PARTS), name)
                seconds = min(PARTS[name][1] + allowance, start + limit - time.monotonic())
                results[pending.pop(0)] = result = worker.next_result(seconds)
                allowance = 0.0
                if "error" in result or start + limit - time.monotonic() <= SHORTEST:
                    break  # after an error the state of the GPU is unknown: go on in a new process
        finally:
            worker.stop()
    results |= {name: {"error": f"not started: the {limit:.0f} s for all parts are over"} for name in pending}
    if progress is not None:
        progress(len(PARTS), len(PARTS), "done")
    name = machine.name(device) + (" (tiny sizes: a test of the script, not a measurement)" if small else "")
    return {"machine": name, "seconds": time.monotonic() - start, "parts": results}


def table(result: dict) -> str:
    """The figures as a Markdown table."""
    if result["machine"] is None:
        return NO_GPU
    rows = [("Machine", result["machine"], f"{result['seconds']:.0f} s in total", "", "")]
    for name, part in result["parts"].items():
        if "error" in part:
            rows.append((name, "failed", part["error"], "", ""))
        rows += [(name, *row) for row in part.get("rows", ())]
    cells = [[str(cell).replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    head = ["| Part | Measurement | Value | Compared with | Ratio |", "|---|---|---|---|---|"]
    return "\n".join([*head, *(f"| {' | '.join(row)} |" for row in cells)])


class _Worker:
    """A process that runs parts and prints one JSON line for each; its lines are read with a time limit."""

    def __init__(self, command: list[str]):
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  (closed by `stop`)
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.errors, text=True, cwd=ROOT)
        self.lines: queue.Queue[str | None] = queue.Queue()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def next_result(self, seconds: float) -> dict:
        """The next part's result; an error if none comes within `seconds` or the process ends."""
        try:
            line = self.lines.get(timeout=seconds)
        except queue.Empty:
            return {"error": f"stopped after {seconds:.0f} s"}
        if line is not None:
            return json.loads(line)
        self.process.wait()
        self.errors.seek(0)
        last = (self.errors.read().strip().splitlines() or ["no message"])[-1]
        return {"error": f"the process ended with status {self.process.returncode}: {last}"}

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self.reader.join()
        self.process.stdout.close()
        self.errors.close()

    def _read(self) -> None:
        for line in self.process.stdout:
            if line.startswith("{"):
                self.lines.put(line)
        self.lines.put(None)


def work(names: list[str], device: torch.device, small: bool) -> None:
    """Run parts by name, print one JSON line for each, and end after the first that fails."""
    from benchmarks.gpu_parts import PARTS

    for name in names:
        start = time.monotonic()
        try:
            result = {"rows": PARTS[name][0](device, small), "seconds": time.monotonic() - start}
        except Exception as error:  # whatever it is, it becomes a row of the table
            result = {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
        print(json.dumps(result), flush=True)
        if "error" in result:
            return


def main(arguments: list[str] | None = None) -> int:
    """Command line; the exit status is 0 with or without a GPU."""
    parser = argparse.ArgumentParser(
        "python benchmarks/gpu.py", description="Measure HeadPrune on a GPU in at most 8 minutes."
    )
    parser.add_argument("--device", help="CUDA device (default: the first GPU)")
    parser.add_argument("--small", action="store_true", help="tiny sizes that also run on a CPU, to test the script")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--worker", nargs="+", metavar="PART", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    device = torch.device(options.device) if options.device else None
    if options.worker:
        work(options.worker, device or torch.device("cuda"), options.small)
        return 0
    result = run(
        device, small=options.small, progress=lambda done, total, note: print(f"{done}/{total} {note}", file=sys.stderr)
    )
    print(json.dumps(result) if options.json else table(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
