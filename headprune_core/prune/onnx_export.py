"""A model, pruned or whole, as one ONNX file that runs without PyTorch; it gets its name when ONNX Runtime agrees with it.

The weights are written to a folder, traced in a process of their own (`onnx_graph.py`), and the file is run on random
texts (images) of sizes that were not traced, padding among them, against the model in memory. So the model that is given may
be shared, nothing in this process changes, and whatever the tracing got wrong is refused and never handed out.
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
from headprune_core.model.model_io import atomic_file
from headprune_core.model.prunable_model import PrunableModel

from .onnx_graph import OPSET, graph_inputs, random_batch, within

INSTALL = "pip install -r requirements-onnx.txt"
PACKAGES = ("onnx", "onnxscript", "onnxruntime")
COUNTS, LENGTHS = (1, 3), (5, 17, 40)  # of the batches that are compared, in examples and tokens
TOLERANCE = 1e-4  # of the largest logit, or of 1
ROUNDING = 4  # times what the last bits of the weights are worth, where that is more
TRACING = "from headprune_core.onnx_graph import main; main()"
ROOT = Path(__file__).resolve().parents[2]
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class OnnxExport:
    """An ONNX file that was held against its model.

    difference: the largest between a logit of ONNX Runtime and of PyTorch, at real tokens. inputs, outputs: names, in order.
    opset: of the graph. size: bytes, of the data beside the file too where there are any.
    """

    file: Path
    difference: float
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    opset: int
    size: int


def has_onnx() -> bool:
    """Whether all that the export needs is installed. Imports nothing."""
    return not _missing()


def export_onnx(model: PrunableModel, file: str | Path, *, progress: Progress | None = None) -> OnnxExport:
    """Write `model` to `file` (name.onnx) as an ONNX graph, and run that against the model.

    The graph reads input_ids, attention_mask and, where the model takes them, token_type_ids and decoder_input_ids, all
    int64 (examples, tokens), or pixel_values, float32; it gives logits, (N, C), (N, T, V) or (N, U, V). Examples and tokens
    may be of any number. All is in the one file up to 2 GB; above, the weights are in `file`.data beside it. It is complete
    or is not there; an earlier file is replaced. A mixture of experts reads the weights of every token's experts anew.

    Raises HeadPruneError where packages are missing, for a model that is not in float32 or cannot be traced, where the file
    cannot be written, and where ONNX Runtime's logits differ by more than 1e-4 of the largest (of 1, if that is more) and by
    more than rounding explains: four times what the last bits of the model's weights are worth.
    """
    file = Path(file).expanduser().absolute()
    check_exportable(file)
    _check(model)

    def tell(done: int, note: str) -> None:
        if progress is not None:
            progress(done, 3, note)

    kind = type(model.model).__name__
    with atomic_file(file) as new:
        tell(0, "Writing the weights")
        with tempfile.TemporaryDirectory(dir=new.parent) as folder:
            model.write_into(Path(folder))
            _trace(kind, folder, new, lambda: tell(1, "Tracing the model"))
        difference = _checked(model, new, lambda: tell(2, "Comparing ONNX Runtime with PyTorch"))
        size = sum(part.stat().st_size for part in new.parent.iterdir())
    tell(3, "Exported")
    return OnnxExport(file, difference, graph_inputs(model), ("logits",), OPSET, size)


def _missing() -> list[str]:
    return [name for name in PACKAGES if importlib.util.find_spec(name) is None]


def check_exportable(file: Path) -> None:
    """Raise HeadPruneError where no model can be exported to `file`: its name is another one, or packages are missing."""
    missing = _missing()
    if missing:
        raise HeadPruneError(f"ONNX export needs {' and '.join(missing)}, which is not installed; run: {INSTALL}")
    if file.suffix != ".onnx":
        raise HeadPruneError(f"the file is to be called {file.name!r}; expected a name that ends in .onnx")


def _check(model: PrunableModel) -> None:
    if model.device.type == "meta":
        raise HeadPruneError("the model is on the meta device and has no weights to export; expected loaded weights")
    if model.model.dtype != torch.float32:
        raise HeadPruneError(
            f"the model is in {str(model.model.dtype).removeprefix('torch.')}, which ONNX Runtime does not compute with "
            "everywhere; expected float32: load it with dtype='float32'"
        )


def _trace(kind: str, folder: str, file: Path, tell: Callable[[], None]) -> None:
    """Write the graph of the model in `folder` to `file`, in a process of its own, which ends when `tell` raises."""
    command = [sys.executable, "-P", "-W", "ignore", "-c", TRACING, folder, file]
    paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    environment = os.environ | {"PYTHONPATH": paths, "HF_HUB_OFFLINE": "1"}
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=environment, text=True, **pipes) as process:
        try:
            said = None
            while said is None:
                tell()
                with suppress(subprocess.TimeoutExpired):
                    said, noise = process.communicate(timeout=0.2)
        except BaseException:
            process.kill()
            raise
    if process.returncode == 0:
        return
    try:
        found = json.loads(said.splitlines()[-1])
    except (ValueError, IndexError):  # it did not come so far, or was killed, mostly for want of memory
        last = noise.strip().rpartition("\n")[2][:120]
        found = {"reason": f"its process ended with {process.returncode}: {last}".rstrip(": "), "writing": False}
    if found["writing"]:
        raise OSError(found["reason"])
    raise HeadPruneError(
        f"{kind} cannot be traced as an ONNX graph ({found['reason']}); save it as a folder, or choose a model of another "
        "family"
    )


def _checked(model: PrunableModel, file: Path, tell: Callable[[], None]) -> float:
    """The largest difference between the logits of the file and of the model; HeadPruneError where it is too large."""
    session = _session(file)
    lengths = dict.fromkeys(1 if model.reads_images else within(model, tokens) for tokens in LENGTHS)
    batches = [random_batch(model, count, tokens) for count, tokens in product(COUNTS, lengths)]
    expected, found = [], []
    for batch in batches:
        tell()
        logits = _logits(model, batch)
        expected.append(_real(batch, logits))
        found.append(_real(batch, _answer(session, model, batch, logits.shape)))
    difference, largest = _furthest(expected, found), _furthest(expected, [np.zeros(1)] * len(expected))
    allowed = TOLERANCE * max(1.0, largest)
    if not difference <= allowed:  # NaN too
        nudged = _nudged(model)
        allowed = max(allowed, ROUNDING * _furthest(expected, [_real(batch, _logits(nudged, batch)) for batch in batches]))
    if not difference <= allowed:
        raise HeadPruneError(
            f"ONNX Runtime's logits differ from the model's by {difference:.2g} of {largest:.2g}; expected at most "
            f"{allowed:.2g}, so no file was written: save the model as a folder"
        )
    return difference


def _answer(session, model: PrunableModel, batch: Batch, shape: tuple[int, ...]) -> np.ndarray:
    """The file's logits; HeadPruneError where they are not of that shape, so that the tracing has fixed a size."""
    inputs = {name: batch.inputs[name].cpu().numpy() for name in graph_inputs(model)}
    try:
        (logits,) = session.run(["logits"], inputs)
        reason = f"logits of shape {logits.shape}, not {shape}"
    except Exception as error:  # each of its failures has a class of its own
        logits, reason = np.empty(0), " ".join(str(error).split())[:120]
    if logits.shape != shape:
        sizes = " x ".join(map(str, next(iter(inputs.values())).shape))
        raise HeadPruneError(
            f"the ONNX file that was traced does not run on inputs of {sizes} ({reason}), so no file was written: save the "
            "model as a folder"
        )
    return logits


@torch.no_grad()
def _logits(model: PrunableModel, batch: Batch) -> np.ndarray:
    return model.logits(batch.inputs).cpu().numpy()


def _real(batch: Batch, logits: np.ndarray) -> np.ndarray:
    """Logits at real tokens; a padding token may have nothing to look at, and then each attention has its own way."""
    if logits.ndim < 3:
        return logits
    return logits[(batch.real if batch.decoder_real is None else batch.decoder_real).cpu().numpy()]


def _furthest(some: list[np.ndarray], others: list[np.ndarray]) -> float:
    return float(np.max([np.abs(one - other).max() for one, other in zip(some, others, strict=True)]))


def _nudged(model: PrunableModel) -> PrunableModel:
    """A copy with the last bit of every weight changed, up or down at random: what rounding can do to its answers.

    Some make much of it: SmolLM2, pruned at random, moves by 0.005 of 37 then.
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
    except Exception as error:  # each of its failures has a class of its own
        reason = " ".join(str(error).split())[:200]
        raise HeadPruneError(f"ONNX Runtime cannot open the file that was traced ({reason}); no file was written") from error
