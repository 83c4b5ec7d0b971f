"""Export a pruned or unpruned model to an ONNX file and verify it with ONNX Runtime.

The model is saved to a temporary folder and traced in a separate process (`onnx_graph`). The file is then run on random
inputs of sizes that were not traced, with padding, and compared with the model in memory. It is kept only if they agree.
"""

import copy
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import torch

from headprune_core.data.batches import Batch
from headprune_core.errors import HeadPruneError
from headprune_core.model.prunable_model import PrunableModel, runs_models
from headprune_core.output_files import atomic_file

from .onnx_graph import OPSET, graph_inputs, random_batch, within

INSTALL = 'pip install "headprune[onnx]"'
PACKAGES = ("onnx", "onnxscript", "onnxruntime")
COUNTS, LENGTHS = (1, 3), (5, 17, 40)  # Examples and tokens of the batches that are compared.
TOLERANCE = 1e-4  # Relative to the largest logit or 1, the larger of the two.
ROUNDING = 4  # Multiple of the effect of rounding the weights that is allowed if it exceeds TOLERANCE.
TRACING = "from headprune_core.prune.onnx_graph import main; main()"
ROOT = Path(__file__).resolve().parents[2]
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class OnnxExport:
    """A verified ONNX file.

    Attributes:
        file: path of the file.
        difference: largest difference between a logit of ONNX Runtime and of PyTorch, at non-padding tokens.
        inputs: names of the inputs in order.
        outputs: names of the outputs in order.
        opset: opset version of the graph.
        size: size in bytes, including external weights.
    """

    file: Path
    difference: float
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    opset: int
    size: int


def has_onnx() -> bool:
    """Return whether all packages for ONNX export are installed, without importing them."""
    return not _missing()


@runs_models
def export_onnx(model: PrunableModel, file: str | Path, *, progress: Progress | None = None) -> OnnxExport:
    """Export a model to ONNX and verify the file with ONNX Runtime.

    The inputs are input_ids, attention_mask and, if the model uses them, token_type_ids and decoder_input_ids, all int64
    (examples, tokens), or pixel_values, float32. The output is logits: (N, C), (N, T, V), or (N, U, V) for a target of U
    tokens. The numbers of examples and tokens are dynamic. Weights above 2 GiB are stored in `file`.data. The file is
    written atomically and replaces an earlier one.

    Args:
        model: pruned or unpruned model in float32.
        file: path of the file; must end in .onnx.
        progress: called as progress(done, total, note).

    Returns:
        The file and its largest logit difference.

    Raises:
        HeadPruneError: if packages are missing, the model is not in float32 or cannot be traced, the file cannot be written,
            or the logits of ONNX Runtime differ. The allowed difference is 1e-4 of the largest logit (or of 1), or four
            times the effect of changing the last bit of every weight if that is larger.
    """
    file = Path(file).expanduser().absolute()
    check_exportable(file)
    _check(model)

    def report(done: int, note: str) -> None:
        if progress is not None:
            progress(done, 3, note)

    kind = type(model.model).__name__
    with atomic_file(file) as new:
        report(0, "Writing the weights")
        with tempfile.TemporaryDirectory(dir=new.parent) as folder:
            model.write_into(Path(folder))
            _trace(kind, folder, new, lambda: report(1, "Tracing the model"))
        difference = _verify(model, new, lambda: report(2, "Comparing ONNX Runtime with PyTorch"))
        size = sum(part.stat().st_size for part in new.parent.iterdir())
    report(3, "Exported")
    return OnnxExport(file, difference, graph_inputs(model), ("logits",), OPSET, size)


def _missing() -> list[str]:
    return [name for name in PACKAGES if importlib.util.find_spec(name) is None]


def check_exportable(file: Path) -> None:
    """Check the file name and the installed packages before an export.

    Args:
        file: path of the ONNX file to write.

    Raises:
        HeadPruneError: if the name does not end in .onnx or a package is missing.
    """
    missing = _missing()
    if missing:
        raise HeadPruneError(f"ONNX export needs {' and '.join(missing)}, which is not installed; run: {INSTALL}")
    if file.suffix != ".onnx":
        raise HeadPruneError(f"the file name must end in .onnx, got {file.name!r}")


def _check(model: PrunableModel) -> None:
    if model.device.type == "meta":
        raise HeadPruneError("the model is on the meta device and has no weights to export; load its weights first")
    if model.model.dtype != torch.float32:
        raise HeadPruneError(
            f"the model must be in float32 for ONNX export, got {str(model.model.dtype).removeprefix('torch.')}; load it "
            "with dtype='float32'"
        )


def _trace(kind: str, folder: str, file: Path, report: Callable[[], None]) -> None:
    """Export the model in `folder` to `file` in a separate process, which is killed if `report` raises."""
    command = [sys.executable, "-P", "-W", "ignore", "-c", TRACING, folder, file]
    paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    environment = os.environ | {"PYTHONPATH": paths, "HF_HUB_OFFLINE": "1"}
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=environment, text=True, **pipes) as process:
        try:
            output = None
            while output is None:
                report()
                with suppress(subprocess.TimeoutExpired):
                    output, log = process.communicate(timeout=0.2)
        except BaseException:
            process.kill()
            raise
    if process.returncode == 0:
        return
    try:
        failure = json.loads(output.splitlines()[-1])
    except (ValueError, IndexError):  # The process did not start properly or was killed, usually for lack of memory.
        last = log.strip().rpartition("\n")[2][:120]
        failure = {"reason": f"its process ended with {process.returncode}: {last}".rstrip(": "), "writing": False}
    if failure["writing"]:
        raise OSError(failure["reason"])
    raise HeadPruneError(
        f"{kind} cannot be traced as an ONNX graph ({failure['reason']}); save the model as a folder, or use another "
        "architecture"
    )


def _verify(model: PrunableModel, file: Path, report: Callable[[], None]) -> float:
    """Return the largest difference between the logits of the file and of the model; raise HeadPruneError if too large."""
    session = _session(file)
    lengths = dict.fromkeys(1 if model.reads_images else within(model, tokens) for tokens in LENGTHS)
    batches = [random_batch(model, count, tokens) for count, tokens in product(COUNTS, lengths)]
    expected, actual = [], []
    for batch in batches:
        report()
        logits = _logits(model, batch)
        expected.append(_real(batch, logits))
        actual.append(_real(batch, _onnx_logits(session, model, batch, logits.shape)))
    difference, largest = _max_difference(expected, actual), _max_difference(expected, [np.zeros(1)] * len(expected))
    allowed = TOLERANCE * max(1.0, largest)
    if not difference <= allowed:  # "not <=" is also true for NaN.
        perturbed = _perturbed(model)
        rounded = [_real(batch, _logits(perturbed, batch)) for batch in batches]
        allowed = max(allowed, ROUNDING * _max_difference(expected, rounded))
    if not difference <= allowed:
        raise HeadPruneError(
            f"the logits of ONNX Runtime and PyTorch differ by {difference:.2g} (logits up to {largest:.2g}, allowed "
            f"{allowed:.2g}); no file was written, save the model as a folder instead"
        )
    return difference


def _onnx_logits(session, model: PrunableModel, batch: Batch, shape: tuple[int, ...]) -> np.ndarray:
    """Return the logits of the file; raise HeadPruneError if their shape shows that tracing has fixed a size."""
    inputs = {name: batch.inputs[name].cpu().numpy() for name in graph_inputs(model)}
    try:
        (logits,) = session.run(["logits"], inputs)
        reason = f"logits of shape {logits.shape}, not {shape}"
    except Exception as error:  # ONNX Runtime raises a separate exception class for each kind of failure.
        logits, reason = np.empty(0), " ".join(str(error).split())[:120]
    if logits.shape != shape:
        sizes = " x ".join(map(str, next(iter(inputs.values())).shape))
        raise HeadPruneError(
            f"the traced ONNX graph does not run on inputs of size {sizes} ({reason}); no file was written, save the model "
            "as a folder instead"
        )
    return logits


@torch.no_grad()
def _logits(model: PrunableModel, batch: Batch) -> np.ndarray:
    return model.logits(batch.inputs).cpu().numpy()


def _real(batch: Batch, logits: np.ndarray) -> np.ndarray:
    """Return the logits at non-padding tokens; attention of fully masked padding tokens is undefined."""
    if logits.ndim < 3:
        return logits
    return logits[(batch.real if batch.decoder_real is None else batch.decoder_real).cpu().numpy()]


def _max_difference(first: list[np.ndarray], second: list[np.ndarray]) -> float:
    return float(np.max([np.abs(a - b).max() for a, b in zip(first, second, strict=True)]))


def _perturbed(model: PrunableModel) -> PrunableModel:
    """Return a copy with the last bit of every weight changed at random, to measure the effect of rounding.

    The effect can be large: logits up to 37 of a randomly pruned SmolLM2 change by 0.005.
    """
    generator, moved = torch.Generator().manual_seed(0), {}
    for weight in model.model.parameters():
        up = (torch.rand(weight.shape, generator=generator) < 0.5).to(weight.device)
        towards = torch.where(up, torch.inf, -torch.inf).to(weight.dtype)
        moved[id(weight)] = torch.nn.Parameter(torch.nextafter(weight, towards), False)
    twin = copy.copy(model)
    twin.model = copy.deepcopy(model.model, moved)
    return twin


def _session(file: Path):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises a separate exception class for each kind of failure.
        reason = " ".join(str(error).split())[:200]
        raise HeadPruneError(f"ONNX Runtime cannot open the traced graph ({reason}); no file was written") from error
