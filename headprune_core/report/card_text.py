"""Small words of a model card: text that cannot break Markdown, names without people's folders, front matter, sources."""

import json
import re
from pathlib import Path

import numpy as np

from headprune_core.data.table_io import SUFFIXES
from headprune_core.model.loading import display_name, is_hub_id
from headprune_core.model.prunable_model import PrunableModel
from headprune_core.references import REFERENCES

from .pruning_record import PruningRecord, Share

PIPELINES = {"classification": "text-classification", "language": "text-generation", "translation": "translation"}
TAGS = ("pruned", "attention-head-pruning", "headprune")
NO_HUB = ("embedded", "smollm2")  # sources that are names of our own
SOURCES = {  # by what a criterion's label has in it
    r"\bHIS\b|leave.one.out": ("michel",),
    r"\bHIES\b": ("hies", "michel"),
    r"gnorm|\bAE\b": ("greedy",),
}


def escaped(words: object) -> str:
    """User text as one line of Markdown that says just that: no markup, HTML, table cells, formulas or line ends in it."""
    line = re.sub(r"([\\`*_\[\]|~$#{}!])", r"\\\1", one_line(words))
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def one_line(words: object) -> str:
    """User text without line ends and letters that cannot be seen."""
    return " ".join("".join(c if c.isprintable() else " " for c in str(words)).split())


def named(source: str) -> str:
    """What to call a model, in Markdown."""
    return escaped(plain_name(source))


def plain_name(source: str) -> str:
    """What to call a model: a Hub id or a name as it is, of a folder its last part alone."""
    is_folder = re.match(r"[.~/\\]|[A-Za-z]:[/\\]", source) or Path(source).is_dir()
    return re.split(r"[/\\]", source.rstrip("/\\"))[-1] or "a model" if is_folder else display_name(source)


def front_matter(model: PrunableModel, record: PruningRecord | None, found: Share | None = None) -> str:
    """The YAML between two lines of dashes that the Hub reads. It names no licence, which is the original model's.

    found: what was measured of the weights that are saved. Accuracy on a data set of the Hub goes into the model index.
    """
    pipeline = "image-classification" if model.reads_images else PIPELINES[model.task]
    lines = ["---", "library_name: transformers", f"pipeline_tag: {pipeline}", "tags:", *(f"- {tag}" for tag in TAGS)]
    if record is not None and record.source not in NO_HUB and is_hub_id(record.source):
        lines.append(f"base_model: {json.dumps(record.source)}")
    if found is not None and found.name == "accuracy":
        lines += ["metrics:", "- accuracy", *_index(pipeline, record, found)]
    return "\n".join([*lines, "---"])


def _index(pipeline: str, record: PruningRecord, found: Share) -> list[str]:
    """The datasets and the model index of the front matter, where the texts measured on are for anybody to have."""
    told = record.evaluation_source
    data = str(told.get("source", ""))
    if data in ("", *NO_HUB) or not is_hub_id(data) or Path(data).suffix.lower() in SUFFIXES:
        return []
    where = {"type": data, "name": data, "config": told.get("subset"), "split": told.get("split")}
    result = {
        "task": {"type": pipeline},
        "dataset": {name: value for name, value in where.items() if value},
        "metrics": [{"type": "accuracy", "value": round(found.value, 4), "name": f"Accuracy on {found.answers} answers"}],
    }
    index = [{"name": f"{one_line(plain_name(record.source))}, pruned", "results": [result]}]
    # JSON is YAML, and quotes whatever needs it
    return ["datasets:", f"- {json.dumps(data)}", f"model-index: {json.dumps(index, ensure_ascii=False)}"]


def sources(criterion: str | None) -> list[str]:
    """The papers that a criterion of that label is from; none for one that is nobody's."""
    found = [paper for words, papers in SOURCES.items() if re.search(words, criterion or "", re.I) for paper in papers]
    return [REFERENCES[paper] for paper in dict.fromkeys(found)]


def describe_picture(model: PrunableModel) -> str:
    """The head map in a sentence or two, for those who do not see it."""
    kept, labels = model.grid.kept, model.grid.row_labels
    empty = [label for label, row in zip(labels, kept, strict=True) if not row.any()]
    whole = [label for label, row in zip(labels, kept, strict=True) if row.all()]
    words = f"Map of {len(kept)} layers with {kept.shape[1]} heads each: {int(kept.sum())} of {kept.size} heads are kept."
    words += f" Layers without heads: {', '.join(empty)}." if empty else ""
    return words + (f" Layers with all their heads: {', '.join(whole)}." if whole else "")


def text_map(model: PrunableModel) -> str:
    """The head map in letters: a line a layer."""
    kept, there, labels = model.grid.kept, model.grid.present, model.grid.row_labels
    signs = np.where(kept, "■", np.where(there, "▨", "·"))
    across = max(map(len, labels))
    return "\n".join(f"{label:>{across}}  {' '.join(row)}" for label, row in zip(labels, signs, strict=True))


def table(*lines: tuple[object, ...]) -> str:
    """A Markdown table: the first line is its head."""
    head, *rest = [f"| {' | '.join(map(str, line))} |" for line in lines]
    return "\n".join([head, f"|{'---|' * len(lines[0])}", *rest])
