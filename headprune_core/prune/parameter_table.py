"""Model size by module, before and after pruning: parameters, shares and MiB.

The layout follows Tables 2 to 5 of the Greedy-Gnorm paper (arXiv 2602.04491): the model, its parts, and their parts. Sizes
are in MiB (2^20 bytes) at 4 bytes per parameter (float32). Shared weights count once, at their first module; buffers do not
count. Models on the meta device work too.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from torch import nn

from headprune_core.model.prunable_model import PrunableModel

BYTES = 4  # Bytes per parameter in float32.
MIB = 2**20
LEVELS = 2  # Levels of modules below the model.
# Names as written in papers, and readable names for abbreviations in code.
NAMES = {
    "albert": "ALBERT",
    "bert": "BERT",
    "deit": "DeiT",
    "distilbert": "DistilBERT",
    "electra": "ELECTRA",
    "gpt_neox": "GPT-NeoX",
    "h": "Layers",
    "ln_f": "Final norm",
    "roberta": "RoBERTa",
    "vit": "ViT",
    "wpe": "Position embeddings",
    "wte": "Token embeddings",
}
BASE = ("model", "transformer")  # Names that many families give to the model without its task head.


@dataclass(frozen=True)
class _Row:
    name: str
    level: int
    parameters: int
    tied_to: str


def parameter_table(before: PrunableModel | nn.Module, after: PrunableModel | nn.Module | None = None) -> pd.DataFrame:
    """Return the number of parameters of each module, in the layout of the Greedy-Gnorm paper's Tables 2 to 5.

    Args:
        before: unpruned model.
        after: pruned model, if both are to be compared.

    Returns:
        One row per module. Columns: module (display name), path (in the model, "" for the model itself), level (0 = model,
        1 = its parts, 2 = their parts), tied_to (weights of another row that a module with 0 parameters uses, else ""),
        parameters, share (percent of the model), size_mib (MiB in float32); with `after` also parameters_after, share_after
        and size_mib_after. Rows of level 1 sum to the model, rows of level 2 to the row of level 1 above them.
    """
    models = [_rows(model) for model in (before, after) if model is not None]
    paths = list(dict.fromkeys(path for rows in models for path in rows))
    first = [next(rows[path] for rows in models if path in rows) for path in paths]
    table = {
        "module": [row.name for row in first],
        "path": paths,
        "level": [row.level for row in first],
        "tied_to": [row.tied_to for row in first],
    }
    for rows, suffix in zip(models, ("", "_after"), strict=False):
        counts = np.array([rows[path].parameters if path in rows else 0 for path in paths])
        table |= {
            f"parameters{suffix}": counts,
            f"share{suffix}": 100.0 * counts / counts[0],
            f"size_mib{suffix}": BYTES * counts / MIB,
        }
    return pd.DataFrame(table)


def _rows(model: PrunableModel | nn.Module) -> dict[str, _Row]:
    """Return the table rows by path, in model order."""
    model = model.model if isinstance(model, PrunableModel) else model
    once = dict(model.named_parameters())
    names = {id(parameter): name for name, parameter in once.items()}
    tied = {name: names[id(p)] for name, p in model.named_parameters(remove_duplicate=False) if name not in once}

    def row(path: str, level: int) -> _Row:
        count = sum(p.numel() for name, p in once.items() if _within(name, path))
        elsewhere = next((first for name, first in tied.items() if _within(name, path)), "")
        return _Row(_name(path, level), level, count, "" if count else elsewhere)

    return {path: row(path, level) for path, level in _paths(model, "", 0)}


def _paths(module: nn.Module, path: str, level: int) -> Iterator[tuple[str, int]]:
    """Yield the module, its submodules with parameters and its own parameters, down to the last level."""
    yield path, level
    if level < LEVELS:
        start = f"{path}." if path else ""
        base = getattr(module, "base_model_prefix", None)  # Listed first, although some families register their head first.
        for name, child in sorted(module.named_children(), key=lambda part: part[0] != base):
            if next(child.parameters(), None) is not None:
                yield from _paths(child, start + name, level + 1)
        yield from ((start + name, level + 1) for name, _ in module.named_parameters(recurse=False))


def _within(name: str, path: str) -> bool:
    return not path or name == path or name.startswith(f"{path}.")


def _name(path: str, level: int) -> str:
    last = path.rpartition(".")[2]
    if level == 1 and last in BASE:
        return "Base model"
    return NAMES.get(last, last[:1].upper() + last[1:]) or "Model"
