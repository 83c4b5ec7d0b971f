"""What a model weighs, module by module, before and after pruning: parameters, shares and megabytes.

The form is that of Tables 2 to 5 of Guo and Sheridan, Greedy-Gnorm: the whole model, its parts, and the parts of these. A
megabyte is 2^20 bytes, a parameter four of them (float32), so MB = 4 · parameters / 2^20. Weights that several modules share
count once, where they come first; buffers, which are not learned, do not count. Nothing is computed, so a model built from
its configuration on the meta device does as well as a loaded one.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from torch import nn

from headprune_core.model.prunable_model import PrunableModel

BYTES = 4  # of a parameter in float32
MB = 2**20
LEVELS = 2  # of parts below the model
# Names as papers write them, and in place of letters that only the code's readers know.
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
BASE = ("model", "transformer")  # what many families call the model without its task head


@dataclass(frozen=True)
class _Line:
    name: str
    level: int
    parameters: int
    tied_to: str


def parameter_table(before: PrunableModel | nn.Module, after: PrunableModel | nn.Module | None = None) -> pd.DataFrame:
    """One line per module, in the form of the Greedy-Gnorm paper's Tables 2 to 5.

    Columns: module (its name for people), path (in the model, "" for the whole), level (0 the model, 1 its parts, 2 theirs),
    parameters, share (percent of the model), size_mib (in float32); with `after` also parameters_after, share_after and size_mib_after.
    tied_to names the weights of another line that a module of 0 parameters uses, else "". The lines of level 1 add up to the
    model; those of level 2 to the line above them.
    """
    models = [_lines(model) for model in (before, after) if model is not None]
    paths = list(dict.fromkeys(path for lines in models for path in lines))
    first = [next(lines[path] for lines in models if path in lines) for path in paths]
    table = {
        "module": [line.name for line in first],
        "path": paths,
        "level": [line.level for line in first],
        "tied_to": [line.tied_to for line in first],
    }
    for lines, ending in zip(models, ("", "_after"), strict=False):
        counts = np.array([lines[path].parameters if path in lines else 0 for path in paths])
        table |= {
            f"parameters{ending}": counts,
            f"share{ending}": 100.0 * counts / counts[0],
            f"size_mib{ending}": BYTES * counts / MB,
        }
    return pd.DataFrame(table)


def _lines(model: PrunableModel | nn.Module) -> dict[str, _Line]:
    """Path -> line, in the order of the model."""
    model = model.model if isinstance(model, PrunableModel) else model
    once = dict(model.named_parameters())
    names = {id(parameter): name for name, parameter in once.items()}
    tied = {name: names[id(p)] for name, p in model.named_parameters(remove_duplicate=False) if name not in once}

    def line(path: str, level: int) -> _Line:
        count = sum(p.numel() for name, p in once.items() if _within(name, path))
        elsewhere = next((first for name, first in tied.items() if _within(name, path)), "")
        return _Line(_name(path, level), level, count, "" if count else elsewhere)

    return {path: line(path, level) for path, level in _paths(model, "", 0)}


def _paths(module: nn.Module, path: str, level: int) -> Iterator[tuple[str, int]]:
    """The module and, down to the last level, its parts that hold parameters and its own parameters."""
    yield path, level
    if level < LEVELS:
        start = f"{path}." if path else ""
        base = getattr(module, "base_model_prefix", None)  # before its task head, which some families register first
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
