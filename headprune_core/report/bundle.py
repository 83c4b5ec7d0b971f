"""Write the export bundle: one zip with the pruned model and all related results.

    README.txt   model/ (as save_pretrained wrote it)   mask.json mask.csv   scores.csv scores.json   curves.csv
    settings.json   report.html   figures/*.html with one plotly.min.js, *.svg if a browser is available   and more

The same content gives the same bytes, because time stamps and the order of files are fixed. The zip is written atomically.
Weights are stored uncompressed because they do not compress; all other files are deflated.
"""

import importlib.util
import re
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from headprune_core.checked_mask import checked_mask
from headprune_core.data.formats.spreadsheet_csv import spreadsheet_csv
from headprune_core.errors import HeadPruneError
from headprune_core.masks.mask_files import mask_csv, mask_json
from headprune_core.output_files import atomic_file
from headprune_core.scores.head_scores import HeadScores
from headprune_core.strict_json import as_json

from .pruning_record import PruningRecord

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
STORED = (".safetensors",)
TIME = (1980, 1, 1, 0, 0, 0)  # the earliest time stamp of the zip format
FACTS = (
    "source",
    "revision",
    "mask_description",
    "criterion",
    "alpha",
    "sparsity",
    "calibration_data",
    "evaluation_data",
    "training_data",
)
_PART = re.compile(r"\w([\w .,()+=@-]{0,118}[\w)])?")
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)  # reserved file names on Windows


def write_bundle(
    file: str | Path,
    model_folder: str | Path,
    *,
    mask,
    record: PruningRecord | None = None,
    scores: HeadScores | None = None,
    curves: pd.DataFrame | None = None,
    report: str | None = None,
    figures: Mapping[str, go.Figure] | None = None,
    settings: Mapping[str, object] | None = None,
    more: Mapping[str, bytes | str] | None = None,
    row_names: Sequence[str] = (),
) -> Path:
    """Write a zip with a saved pruned model and its results; arguments that are None or empty are omitted.

    Args:
        file: path of the zip.
        model_folder: folder that `save_pretrained` wrote.
        mask: pruning mask (R, H), True = kept.
        record: how the model was pruned and evaluated.
        scores: head scores.
        curves: sparsity curves.
        report: HTML report.
        figures: figures by file name without suffix.
        settings: additional entries of settings.json.
        more: further files by their name in the zip.
        row_names: names of the attention modules (`grid.row_names`).

    Returns:
        Absolute path of the zip.

    Raises:
        HeadPruneError: if a file name is not portable or not unique, the folder contains no model or a link, or the zip
            cannot be written; no partial zip remains.
    """
    file, folder = Path(file).expanduser().absolute(), Path(model_folder).expanduser().absolute()
    if file.is_dir() or folder in file.parents:
        raise HeadPruneError(f"the zip file must not be a folder or inside the model folder {folder}, got {file}")
    mask, model = checked_mask(mask), _model_files(folder)
    texts: dict[str, bytes | str] = {
        "mask.json": mask_json(
            mask,
            row_names=row_names,
            model=record.source if record else "",
            chosen=record.mask_description if record else "",
        ),
        "mask.csv": mask_csv(mask),
    }
    if scores is not None:
        texts["scores.csv"] = spreadsheet_csv(scores.to_frame())
        texts["scores.json"] = as_json(scores.settings) + "\n"
    if curves is not None:
        texts["curves.csv"] = spreadsheet_csv(curves)
    facts = {name: getattr(record, name) for name in FACTS} if record else {}
    facts = {name: value for name, value in facts.items() if value is not None} | dict(settings or {})
    if facts:
        texts["settings.json"] = as_json(facts) + "\n"
    if report is not None:
        texts["report.html"] = report
    texts |= dict(_drawn(figures or {}))
    for name, content in (more or {}).items():
        texts[_checked_name(name, [*texts, "README.txt", "model"])] = content
    texts = {"README.txt": _readme(texts, mask, record)} | texts
    with atomic_file(file) as new:
        _write(new, model, texts)
    return file


def can_draw() -> bool:
    """Return whether Plotly can export SVG images here, which requires kaleido and a Chromium browser."""
    return importlib.util.find_spec("kaleido") is not None and any(map(shutil.which, BROWSERS))


def _write(file: Path, model: dict[str, Path], texts: Mapping[str, bytes | str]) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in texts.items():
            archive.writestr(_entry(name), content)
        for name, source in model.items():
            entry = _entry(name)
            entry.file_size = source.stat().st_size  # Needed in advance, so that large entries use the zip64 format.
            with source.open("rb") as input_file, archive.open(entry, "w") as output_file:
                shutil.copyfileobj(input_file, output_file, 2**20)


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, TIME)
    entry.compress_type = zipfile.ZIP_STORED if name.endswith(STORED) else zipfile.ZIP_DEFLATED
    entry.create_system, entry.external_attr = 3, 0o100644 << 16  # The same on every system.
    return entry


def _model_files(folder: Path) -> dict[str, Path]:
    """Return the files of the model folder by their name in the zip."""
    if not (folder / "config.json").is_file():
        raise HeadPruneError(f"no config.json in {folder}; pass a folder that save_pretrained wrote")
    files: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise HeadPruneError(f"{path} is a link or not a regular file; pass a folder that save_pretrained wrote")
        if path.is_file():
            files[_checked_name(f"model/{path.relative_to(folder).as_posix()}", files)] = path
    return files


def _drawn(figures: Mapping[str, go.Figure]) -> Iterator[tuple[str, str | bytes]]:
    """Yield name and content of every figure on white, and the Plotly script once."""
    names: list[str] = []
    with_svg = can_draw()
    for name, figure in figures.items():
        names.append(_checked_name(f"figures/{name}.html", names))
        light = go.Figure(figure).update_layout(template="plotly_white", paper_bgcolor="white", plot_bgcolor="white")
        for number, trace in enumerate(light.data):
            trace.uid = f"trace{number}"  # Otherwise Plotly generates a random one.
        yield names[-1], light.to_html(include_plotlyjs="directory", div_id="figure", config={"displaylogo": False})
        if with_svg:
            image = _svg(light)
            if image is not None:
                yield f"figures/{name}.svg", image
    if names:
        yield "figures/plotly.min.js", get_plotlyjs()


def _svg(figure: go.Figure) -> bytes | None:
    """Return the figure as a reproducible SVG; None if the browser fails."""
    try:
        image = figure.to_image("svg", width=1000, height=figure.layout.height or 560)
    except Exception:  # A browser can fail in many ways; the bundle is still useful without SVG images.
        return None
    random_id = re.search(rb'id="defs-(\w+)"', image)  # Plotly uses a random ID in all names of the file.
    return image.replace(random_id[1], b"figure") if random_id else image


def _checked_name(name: str, taken) -> str:
    """Return `name` if it is a portable file name that does not collide with one of `taken`."""
    parts = name.split("/")
    if not all(_PART.fullmatch(part) and not _RESERVED.match(part) for part in parts) or len(name) > 200:
        raise HeadPruneError(
            f"file names in the zip may contain letters, digits, spaces and . , - _ + = @ ( ), in folders separated by /, "
            f"got {name[:80]!r}"
        )
    for other in taken:
        path, other_path = f"{name.lower()}/", f"{other.lower()}/"  # With /, a file also collides with a folder.
        if path.startswith(other_path) or other_path.startswith(path):
            raise HeadPruneError(f"file names in the zip must be unique, got {name!r} twice")
    return name


def _readme(texts: Mapping[str, object], mask: np.ndarray, record: PruningRecord | None) -> str:
    kept, total = int(mask.sum()), mask.size
    files = [name for name in texts if "/" not in name and not name.startswith("mask.")]
    lines = [
        f"Attention-pruned model exported by HeadPrune: {kept} of {total} heads kept.",
        f"Base model: {record.source}. Mask: {record.mask_description}." if record else "",
        "model/      weights, configuration, tokenizer, kept heads (head_map.json) and model card (README.md)",
        "mask.json, mask.csv      kept heads (original indices); HeadPrune can load both formats",
        f"Other files      {', '.join([*files, *(['figures/'] if 'figures/plotly.min.js' in texts else [])])}"
        if files
        else "",
        "To load the model, unzip this file and run in Python, in the same folder:",
        "    import headprune_core as hp",
        '    model = hp.PrunableModel.from_pretrained("model")',
    ]
    return "\n".join(" ".join(line.splitlines()) for line in lines if line) + "\n"
