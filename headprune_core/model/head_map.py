"""The head map: which of the original heads a pruned model has, and whose features are whose; JSON beside the weights.

    {"version": 1, "task": "classification", "shape": [R, H], "layers": [row of every attention call],
     "rows": {name of the attention module: {"heads": H, "kept": [...], "gated": [...], "kind": "self",
              "projections": {"q": {"module": path, "features": [a head's [[start, stop], ...], ...]}, "k", "v", "out"}}},
     "plain": what a loader without this code needs (`standalone_sizes.py`)}

Head numbers and features are those of the model before any head was removed; gated heads have weights but no effect. With
the configuration of the whole model this says the shape of every weight, so the model is rebuilt without the whole weights.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

from headprune_core.errors import HeadPruneError

from .head_layout import KINDS, PARTS, AttentionRow, HeadGrid, Projection, width
from .standalone_sizes import standalone_sizes
from .weight_slicing import slice_row

HEAD_MAP = "head_map.json"
VERSION = 1


@dataclass(frozen=True, eq=False)
class HeadMap:
    """A head map as read from `folder`: the task of the model and what the file says of rows and layers."""

    folder: Path
    task: str
    layers: tuple[int, ...]
    rows: dict[str, dict]

    def prune(self, model: nn.Module) -> HeadGrid:
        """Cut what the map says is gone out of a whole `model`, in place, on the meta device too; the grid that is left."""
        try:
            rows = tuple(self._row(model, name, entry) for name, entry in self.rows.items())
            if set(self.layers) != set(range(len(rows))):
                raise ValueError(f"layers {list(self.layers)} of {len(rows)} rows")
        except (HeadPruneError, AttributeError, KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:120]
            raise HeadPruneError(
                f"{self.folder / HEAD_MAP} does not fit the {type(model).__name__} that config.json beside it describes "
                f"({type(error).__name__}: {reason}); expected the two files that save_pretrained wrote together"
            ) from error
        return HeadGrid(rows, self.layers)

    def _row(self, model: nn.Module, name: str, entry: dict) -> AttentionRow:
        parts = {part: _projection(model, entry["projections"][part], outputs=part != "out") for part in PARTS}
        owned: dict[nn.Module, list[np.ndarray]] = {}
        for projection in parts.values():
            owned.setdefault(projection.module, []).append(projection.features.ravel())
        if any(len(np.unique(all_of_it)) < len(all_of_it) for all_of_it in map(np.concatenate, owned.values())):
            raise ValueError(f"{name} gives a feature to two heads")
        if entry["kind"] not in KINDS:
            raise ValueError(f"{name} is of the kind {entry['kind']!r}")
        row = AttentionRow(name, model.get_submodule(name), **parts, kind=entry["kind"])
        kept, present = np.array(entry["kept"], int), np.array(sorted(entry["kept"] + entry["gated"]), int)
        if (
            row.heads != entry["heads"]
            or not np.isin(present, np.arange(row.heads)).all()
            or len(set(present)) < len(present)
        ):
            raise ValueError(f"{name} has {row.heads} heads and keeps {present.tolist()}")
        return slice_row(model, row, present, np.sort(kept))


def head_map(model) -> dict:
    """The head map of a pruned PrunableModel, as it goes into its file."""
    grid = model.grid
    paths = {module: path for path, module in model.model.named_modules()}
    return {
        "version": VERSION,
        "task": model.task,
        "shape": list(grid.shape),
        "layers": list(grid.layers),
        "rows": {row.name: _entry(row, paths) for row in grid.rows},
        "plain": standalone_sizes(model),
    }


def read_head_map(folder: Path) -> HeadMap:
    """The head map in `folder`; HeadPruneError, in one sentence, where it is broken or newer than this code."""
    file = folder / HEAD_MAP
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        version = content["version"]
        if isinstance(version, int) and version > VERSION:
            raise HeadPruneError(
                f"{file} has version {version}, written by a newer HeadPrune; expected at most {VERSION}: update HeadPrune"
            )
        if version != VERSION or not content["rows"]:
            raise ValueError(f"version {version!r}, {len(content['rows'])} rows")
        return HeadMap(folder, content["task"], tuple(content["layers"]), content["rows"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = " ".join(str(error).split())[:120]
        raise HeadPruneError(f"{file} is no head map ({reason}); expected the file that save_pretrained wrote") from error


def _entry(row: AttentionRow, paths: dict[nn.Module, str]) -> dict:
    kept = np.flatnonzero(row.kept)
    return {
        "heads": row.heads,
        "kept": kept.tolist(),
        "gated": np.setdiff1d(row.present, kept).tolist(),
        "kind": row.kind,
        "projections": {
            part: {"module": paths[getattr(row, part).module], "features": [_runs(head) for head in row.layout[part]]}
            for part in PARTS
        },
    }


def _runs(features: np.ndarray) -> list[list[int]]:
    """Numbers in rising order as stretches [start, stop]."""
    cuts = np.flatnonzero(np.diff(features) != 1) + 1
    return [[int(part[0]), int(part[-1]) + 1] for part in np.split(features, cuts)]


def _projection(model: nn.Module, entry: dict, outputs: bool) -> Projection:
    """From the path of a layer and stretches of its outputs (inputs) for each head."""
    module = model.get_submodule(entry["module"])
    most = width(module)[int(outputs)]
    for start, stop in (run for runs in entry["features"] for run in runs):
        if not 0 <= start < stop <= most:
            raise ValueError(f"features {start} to {stop} of a layer that has {most}")
    heads = [np.concatenate([np.arange(start, stop) for start, stop in runs]) for runs in entry["features"]]
    return Projection(module, np.stack(heads))
