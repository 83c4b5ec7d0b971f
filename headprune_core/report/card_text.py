"""Text helpers of the model card: Markdown escaping, model names without local paths, front matter, tables, references."""

import json
import re
from pathlib import Path

import numpy as np

from headprune_core.data.measures import measure_label
from headprune_core.data.table_io import SUFFIXES
from headprune_core.data.tasks import task_of
from headprune_core.model.loading import display_name, is_hub_id
from headprune_core.model.prunable_model import PrunableModel
from headprune_core.references import REFERENCES

from .pruning_record import PruningRecord, Share

METRICS = {"accuracy": "accuracy", "pearson": "pearsonr"}  # measure -> metric on the Hub
TAGS = ("pruned", "attention-head-pruning", "headprune")
NOT_ON_HUB = ("embedded", "smollm2")  # built-in sources that look like Hub IDs
REFERENCES_BY_LABEL = {  # pattern in the label of a criterion -> keys of REFERENCES
    r"\bHIS\b|leave.one.out": ("michel",),
    r"\bHIES\b": ("hies", "michel"),
    r"gnorm|\bAE\b": ("greedy",),
}


def escaped(text: object) -> str:
    """Return user text as one line of Markdown without markup, HTML, table cells, formulas or line breaks."""
    line = re.sub(r"([\\`*_\[\]|~$#{}!])", r"\\\1", one_line(text))
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def one_line(text: object) -> str:
    """Return user text without line breaks and unprintable characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())


def model_title(source: str) -> str:
    """Return the display name of a model, escaped for Markdown."""
    return escaped(plain_name(source))


def plain_name(source: str) -> str:
    """Return the display name of a model: a Hub ID or name unchanged, a folder without its parent path."""
    is_folder = re.match(r"[.~/\\]|[A-Za-z]:[/\\]", source) or Path(source).is_dir()
    return re.split(r"[/\\]", source.rstrip("/\\"))[-1] or "a model" if is_folder else display_name(source)


def front_matter(model: PrunableModel, record: PruningRecord | None, final: Share | None = None) -> str:
    """Return the YAML metadata of the model card, without a license.

    Args:
        model: pruned model.
        record: how it was pruned and evaluated.
        final: main measure of the saved weights; with labels of a public Hub dataset it goes into the model index.

    Returns:
        YAML between two lines of dashes.
    """
    pipeline = "image-classification" if model.reads_images else task_of(model).pipeline
    lines = ["---", "library_name: transformers", f"pipeline_tag: {pipeline}", "tags:", *(f"- {tag}" for tag in TAGS)]
    if record is not None and record.source not in NOT_ON_HUB and is_hub_id(record.source):
        lines.append(f"base_model: {json.dumps(record.source)}")
    if final is not None and final.name in METRICS:
        lines += ["metrics:", f"- {METRICS[final.name]}", *_index(pipeline, record, final)]
    return "\n".join([*lines, "---"])


def _index(pipeline: str, record: PruningRecord, final: Share) -> list[str]:
    """Return the datasets and model index of the front matter, if the evaluation set is on the Hub."""
    arguments = record.evaluation_source
    data = str(arguments.get("source", ""))
    if data in ("", *NOT_ON_HUB) or not is_hub_id(data) or Path(data).suffix.lower() in SUFFIXES:
        return []
    where = {"type": data, "name": data, "config": arguments.get("subset"), "split": arguments.get("split")}
    name = measure_label(final.name)
    result = {
        "task": {"type": pipeline},
        "dataset": {name: value for name, value in where.items() if value},
        "metrics": [{"type": METRICS[final.name], "value": round(final.value, 4), "name": f"{name} (n = {final.n})"}],
    }
    index = [{"name": f"{one_line(plain_name(record.source))}, pruned", "results": [result]}]
    # JSON is valid YAML and quotes everything that needs quoting.
    return ["datasets:", f"- {json.dumps(data)}", f"model-index: {json.dumps(index, ensure_ascii=False)}"]


def references(criterion: str | None) -> list[str]:
    """Return the references of a criterion.

    Args:
        criterion: label of the criterion.

    Returns:
        Full references; none for random or custom rankings.
    """
    keys = [
        key for pattern, papers in REFERENCES_BY_LABEL.items() if re.search(pattern, criterion or "", re.I) for key in papers
    ]
    return [REFERENCES[key] for key in dict.fromkeys(keys)]


def describe_picture(model: PrunableModel) -> str:
    """Return the text alternative of the head map."""
    kept, labels = model.grid.kept, model.grid.row_labels
    empty = [label for label, row in zip(labels, kept, strict=True) if not row.any()]
    full = [label for label, row in zip(labels, kept, strict=True) if row.all()]
    text = f"Map of {len(kept)} layers with {kept.shape[1]} heads each: {int(kept.sum())} of {kept.size} heads are kept."
    text += f" Layers without heads: {', '.join(empty)}." if empty else ""
    return text + (f" Layers with all heads: {', '.join(full)}." if full else "")


def text_map(model: PrunableModel) -> str:
    """Return the head map as text, one line per layer."""
    kept, present, labels = model.grid.kept, model.grid.present, model.grid.row_labels
    signs = np.where(kept, "■", np.where(present, "▨", "·"))
    width = max(map(len, labels))
    return "\n".join(f"{label:>{width}}  {' '.join(row)}" for label, row in zip(labels, signs, strict=True))


def table(*rows: tuple[object, ...]) -> str:
    """Return a Markdown table; the first row is its header."""
    header, *body = [f"| {' | '.join(map(str, row))} |" for row in rows]
    return "\n".join([header, f"|{'---|' * len(rows[0])}", *body])
