"""The head map: a JSON file beside the weights of a pruned model that says which original heads remain.

    {"version": 1, "task": "classification", "shape": [R, H], "layers": [row of every attention call],
     "rows": {name of the attention module: {"heads": H, "kept": [...], "gated": [...], "kind": "self",
              "projections": {"q": {"module": path, "features": [a head's [[start, stop], ...], ...]}, "k", "v", "out"}}},
     "plain": what a loader without this code needs (`formats/standalone_sizes.py`)}

Head numbers and features are those before pruning; "gated" heads have weights, but their output weights are 0. Together with
the configuration of the unpruned model this determines the shape of every weight, so the unpruned weights are never needed.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

from headprune_core.errors import HeadPruneError

from .formats.safe_json import read_json
from .formats.standalone_sizes import standalone_sizes
from .head_layout import KINDS, PARTS, AttentionRow, HeadGrid, Projection, width
from .weight_slicing import slice_row

HEAD_MAP = "head_map.json"
VERSION = 1
MAX_BYTES = 64 * 2**20  # 100,000 heads take 10 MB


@dataclass(frozen=True, eq=False)
class HeadMap:
    """The head map of a pruned model, as read from a file.

    Attributes:
        folder: folder of the file.
        task: task of the model.
        layers: row number of every attention call.
        rows: entries of the file by module path.
    """

    folder: Path
    task: str
    layers: tuple[int, ...]
    rows: dict[str, dict]

    def prune(self, model: nn.Module) -> HeadGrid:
        """Remove the pruned heads of the map from an unpruned model, in place.

        Args:
            model: the unpruned model, on any device, the meta device included.

        Returns:
            The head grid of the pruned model.

        Raises:
            HeadPruneError: if the map does not fit the model.
        """
        try:
            rows = tuple(self._row(model, name, entry) for name, entry in self.rows.items())
            if set(self.layers) != set(range(len(rows))):
                raise ValueError(f"layers {list(self.layers)} of {len(rows)} rows")
        except (HeadPruneError, AttributeError, KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:120]
            raise HeadPruneError(
                f"{self.folder / HEAD_MAP} does not match the {type(model).__name__} of config.json in the same folder "
                f"({type(error).__name__}: {reason}); use the two files that save_pretrained wrote together"
            ) from error
        return HeadGrid(rows, self.layers)

    def _row(self, model: nn.Module, name: str, entry: dict) -> AttentionRow:
        parts = {part: _projection(model, entry["projections"][part], outputs=part != "out") for part in PARTS}
        owned: dict[nn.Module, list[np.ndarray]] = {}
        for projection in parts.values():
            owned.setdefault(projection.module, []).append(projection.features.ravel())
        if any(len(np.unique(features)) < len(features) for features in map(np.concatenate, owned.values())):
            raise ValueError(f"two heads of {name} share a feature")
        if entry["kind"] not in KINDS:
            raise ValueError(f"{name} has the unknown kind {entry['kind']!r}")
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
    """Return the head map of a pruned model as a JSON-compatible dictionary.

    Args:
        model: the pruned `PrunableModel`.
    """
    grid = model.grid
    paths = {module: path for path, module in model.model.named_modules()}
    return {
        "version": VERSION,
        "task": model.task,
        "shape": list(grid.shape),
        "layers": list(grid.layers),
        "rows": {row.name: row_entry(row, paths) for row in grid.rows},
        "plain": standalone_sizes(model),
    }


def read_head_map(folder: Path) -> HeadMap:
    """Read the head map of a folder.

    Args:
        folder: folder of a pruned model.

    Raises:
        HeadPruneError: if the file is invalid or was written by a newer version.
    """
    file = folder / HEAD_MAP
    try:
        content = read_json(file, MAX_BYTES)
        version = content["version"]
        if isinstance(version, int) and version > VERSION:
            raise HeadPruneError(
                f"{file} has version {version}, but this HeadPrune reads at most version {VERSION}; update HeadPrune"
            )
        if version != VERSION or not content["rows"]:
            raise ValueError(f"version {version!r}, {len(content['rows'])} rows")
        return HeadMap(folder, content["task"], tuple(content["layers"]), content["rows"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = " ".join(str(error).split())[:120]
        raise HeadPruneError(
            f"{file} is not a valid head map ({reason}); use the file that save_pretrained wrote"
        ) from error


def row_entry(row: AttentionRow, paths: dict[nn.Module, str]) -> dict:
    """Return the entry of a row in a head map.

    Args:
        row: the row.
        paths: module paths in the model.
    """
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
    """Increasing numbers as ranges [start, stop]."""
    breaks = np.flatnonzero(np.diff(features) != 1) + 1
    return [[int(part[0]), int(part[-1]) + 1] for part in np.split(features, breaks)]


def _projection(model: nn.Module, entry: dict, outputs: bool) -> Projection:
    """The projection of an entry, which has the path of a layer and ranges of its outputs (inputs) for each head."""
    module = model.get_submodule(entry["module"])
    limit = width(module)[int(outputs)]
    for start, stop in (run for runs in entry["features"] for run in runs):
        if not 0 <= start < stop <= limit:
            raise ValueError(f"features {start} to {stop} of a layer that has {limit}")
    if sum(stop - start for runs in entry["features"] for start, stop in runs) > limit:
        raise ValueError(f"more features than the {limit} of a layer")
    heads = [np.concatenate([np.arange(start, stop) for start, stop in runs]) for runs in entry["features"]]
    return Projection(module, np.stack(heads))
