"""The bundle: one zip with the pruned model and all that tells how it came about.

    README.txt   model/ (as save_pretrained wrote it)   mask.json mask.csv   scores.csv scores.json   curves.csv
    settings.json   report.html   figures/*.html with one plotly.min.js, *.svg where pictures can be drawn   and more

The same content gives the same bytes: times are fixed, names come in one order. It is written beside and then renamed, so
that no half zip has the final name. Weights do not get smaller by compression and are stored; all else is deflated.
"""

import importlib.util
import re
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from headprune_core.errors import HeadPruneError
from headprune_core.masks.mask_files import mask_csv, mask_json
from headprune_core.model.model_io import atomic_file
from headprune_core.scores.head_scores import HeadScores
from headprune_core.strict_json import as_json

from .pruning_record import PruningRecord

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
STORED = (".safetensors",)
TIME = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can say
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
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)  # no file can be called so on Windows


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
    """Write the zip `file` and return its path; what is None or empty is left out.

    model_folder: as `save_pretrained` wrote it, read file by file. mask (R, H), True = kept; row_names: of the model's grid.
    figures: by name, without an ending. more: further files by their name in the zip. Raises HeadPruneError where a name is
    none that every system takes or comes twice, where the folder holds no model or a link, and where the zip cannot be
    written; then nothing is left of it.
    """
    file, folder = Path(file).expanduser().absolute(), Path(model_folder).expanduser().absolute()
    if file.is_dir() or folder in file.parents:
        raise HeadPruneError(f"the bundle cannot be {file}; expected the name of a zip file outside {folder}")
    model = _model_files(folder)
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
        texts["scores.csv"] = scores.to_frame().to_csv(index=False, lineterminator="\n")
        texts["scores.json"] = as_json(scores.settings) + "\n"
    if curves is not None:
        texts["curves.csv"] = curves.to_csv(index=False, lineterminator="\n")
    facts = {name: getattr(record, name) for name in FACTS} if record else {}
    facts = {name: value for name, value in facts.items() if value is not None} | dict(settings or {})
    if facts:
        texts["settings.json"] = as_json(facts) + "\n"
    if report is not None:
        texts["report.html"] = report
    texts |= dict(_drawn(figures or {}))
    for name, content in (more or {}).items():
        texts[_free(name, [*texts, "README.txt", "model"])] = content
    texts = {"README.txt": _readme(texts, mask, record)} | texts
    with atomic_file(file) as new:
        _write(new, model, texts)
    return file


def can_draw() -> bool:
    """Whether Plotly can make pictures here: it takes kaleido and a browser."""
    return importlib.util.find_spec("kaleido") is not None and any(map(shutil.which, BROWSERS))


def _write(file: Path, model: dict[str, Path], texts: Mapping[str, bytes | str]) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in texts.items():
            archive.writestr(_entry(name), content)
        for name, source in model.items():
            entry = _entry(name)
            entry.file_size = source.stat().st_size  # says in advance whether the entry needs the format for large ones
            with source.open("rb") as inward, archive.open(entry, "w") as outward:
                shutil.copyfileobj(inward, outward, 2**20)


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, TIME)
    entry.compress_type = zipfile.ZIP_STORED if name.endswith(STORED) else zipfile.ZIP_DEFLATED
    entry.create_system, entry.external_attr = 3, 0o100644 << 16  # the same on every system
    return entry


def _model_files(folder: Path) -> dict[str, Path]:
    """Name in the zip -> file."""
    if not (folder / "config.json").is_file():
        raise HeadPruneError(f"the folder {folder} holds no config.json; expected one that save_pretrained wrote")
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise HeadPruneError(f"{path} is a link or no plain file; expected a folder as save_pretrained writes it")
        if path.is_file():
            found[_free(f"model/{path.relative_to(folder).as_posix()}", found)] = path
    return found


def _drawn(figures: Mapping[str, go.Figure]) -> Iterator[tuple[str, str | bytes]]:
    """(name, content) of every figure on white, and once what draws them."""
    names: list[str] = []
    resample_indices = can_draw()
    for name, figure in figures.items():
        names.append(_free(f"figures/{name}.html", names))
        light = go.Figure(figure).update_layout(template="plotly_white", paper_bgcolor="white", plot_bgcolor="white")
        for number, trace in enumerate(light.data):
            trace.uid = f"trace{number}"  # else a random one is made up while it is drawn
        yield names[-1], light.to_html(include_plotlyjs="directory", div_id="figure", config={"displaylogo": False})
        if resample_indices:
            picture = _svg(light)
            if picture is not None:
                yield f"figures/{name}.svg", picture
    if names:
        yield "figures/plotly.min.js", get_plotlyjs()


def _svg(figure: go.Figure) -> bytes | None:
    """The figure as SVG, the same whenever it is drawn; None where the browser does not answer."""
    try:
        picture = figure.to_image("svg", width=1000, height=figure.layout.height or 560)
    except Exception:  # a browser fails in many ways, and none of them is a reason to be without the bundle
        return None
    drawn = re.search(rb'id="defs-(\w+)"', picture)  # drawn at random, and part of every name in the file
    return picture.replace(drawn[1], b"figure") if drawn else picture


def _free(name: str, taken) -> str:
    """`name`, if every system can unpack a file of that name and none of `taken` would be written over."""
    parts = name.split("/")
    if not all(_PART.fullmatch(part) and not _RESERVED.match(part) for part in parts) or len(name) > 200:
        raise HeadPruneError(
            f"a file in the bundle would be called {name[:80]!r}; expected letters, digits and . , - _ + = @ ( ), in "
            "folders set apart by /: give it another name"
        )
    for other in taken:
        mine, theirs = f"{name.lower()}/", f"{other.lower()}/"  # a file cannot be a folder too
        if mine.startswith(theirs) or theirs.startswith(mine):
            raise HeadPruneError(f"two files in the bundle would be called {name!r}; expected every name once")
    return name


def _readme(texts: Mapping[str, object], mask, record: PruningRecord | None) -> str:
    kept, every = int(sum(map(sum, mask))), sum(map(len, mask))
    files = [name for name in texts if "/" not in name and not name.startswith("mask.")]
    lines = [
        f"A model that HeadPrune took attention heads out of: {kept} of {every} are left.",
        f"It was made of {record.source}; the heads were chosen so: {record.mask_description}." if record else "",
        "model/      the model: weights, configuration, tokenizer, and the map of the heads that are left (head_map.json)",
        "mask.json, mask.csv      the heads kept, in the numbers of the model before; HeadPrune reads both back",
        f"also here      {', '.join([*files, *(['figures/'] if 'figures/plotly.min.js' in texts else [])])}"
        if files
        else "",
        "To load the model, unpack this zip, go to where it lies, and run in Python:",
        "    import headprune_core as hp",
        '    model = hp.PrunableModel.from_pretrained("model")',
    ]
    return "\n".join(" ".join(line.splitlines()) for line in lines if line) + "\n"
