"""The export bundle: complete and readable, reproducible byte by byte, and never partial or unsafe."""

import io
import json
import resource
import zipfile

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from helpers.tiny_models import examples_for, tiny

import headprune_core as hp
from headprune_core.masks.mask_files import read_mask
from headprune_core.report.bundle import can_draw, write_bundle
from headprune_core.report.pruning_record import PruningRecord
from headprune_core.strict_json import as_json

MASK = np.array([[1, 0, 1, 1], [0, 0, 0, 0], [1, 1, 0, 1]], bool)
RECORD = PruningRecord("tiny bert", "lowest HIS\nfirst", criterion="HIS", sparsity=0.5)


@pytest.fixture(scope="module")
def model():
    return hp.PrunableModel(tiny("bert"))


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    """A pruned BERT, saved; to be read only."""
    place = tmp_path_factory.mktemp("saved") / "model"
    hp.prune_heads(model, MASK).save_pretrained(place)
    return place


@pytest.fixture(scope="module")
def everything(model):
    return {
        "mask": MASK,
        "record": RECORD,
        "scores": hp.score_heads(model, examples_for("bert")),
        "curves": pd.DataFrame({"method": ["his", "ä"], "sparsity": [0.0, 0.5], "accuracy": [np.nan, 1 / 3]}),
        "report": "<!doctype html><title>ä</title>",
        "figures": {"bars": go.Figure(go.Bar(x=["</script><script>alert(1)</script>"], y=[1]))},
        "settings": {"n_random": np.int64(5), "loss": np.nan, "rows": np.arange(2), "place": object},
        "more": {"alpha.csv": "low,high\n", "notes/one.txt": b"1"},
        "row_names": model.grid.row_names,
    }


@pytest.mark.slow
def test_all_is_in_it_and_comes_back(model, folder, everything, tmp_path):
    file = write_bundle(tmp_path / "new" / "bundle.zip", folder, **everything)
    assert [path.name for path in file.parent.iterdir()] == ["bundle.zip"]
    with zipfile.ZipFile(file) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        archive.extractall(tmp_path / "out")
    assert names[0] == "README.txt"
    assert set(names) - {"figures/bars.svg"} == {
        *("README.txt", "mask.json", "mask.csv", "scores.csv", "scores.json", "curves.csv", "settings.json", "report.html"),
        *("figures/bars.html", "figures/plotly.min.js", "alpha.csv", "notes/one.txt"),
        *(f"model/{path.name}" for path in folder.iterdir()),
    }
    out = tmp_path / "out"
    for path in folder.iterdir():
        assert (out / "model" / path.name).read_bytes() == path.read_bytes()
    back = hp.PrunableModel.from_pretrained(out / "model", device="cpu")
    np.testing.assert_array_equal(back.grid.kept, MASK)
    for name in ("mask.json", "mask.csv"):
        np.testing.assert_array_equal(read_mask((out / name).read_bytes(), name, model.grid), MASK)
    assert json.loads((out / "mask.json").read_text())["model"] == "tiny bert"
    scores = pd.read_csv(out / "scores.csv")
    np.testing.assert_array_equal(scores.his.to_numpy().reshape(3, 4), everything["scores"].his)
    assert json.loads((out / "scores.json").read_text())["objective"] == "loss"
    pd.testing.assert_frame_equal(pd.read_csv(out / "curves.csv"), everything["curves"])
    assert json.loads((out / "settings.json").read_text()) == {
        **{"source": "tiny bert", "mask_description": "lowest HIS\nfirst", "criterion": "HIS", "sparsity": 0.5},
        **{"n_random": 5, "loss": None, "rows": [0, 1], "place": "<class 'object'>"},
    }
    assert (out / "report.html").read_text(encoding="utf-8") == everything["report"]
    assert (out / "alpha.csv").read_text() == "low,high\n"
    drawn = (out / "figures" / "bars.html").read_text()
    assert 'src="plotly.min.js"' in drawn
    assert "</script><script>alert" not in drawn
    readme = (out / "README.txt").read_text().splitlines()
    assert len(readme) == 8
    assert readme[0].endswith("6 of 12 heads kept.")
    assert "lowest HIS first." in readme[1]
    assert 'from_pretrained("model")' in readme[-1]


def test_weights_are_stored_and_all_else_is_deflated(folder, everything, tmp_path):
    with zipfile.ZipFile(write_bundle(tmp_path / "b.zip", folder, **everything)) as archive:
        kinds = {info.filename: info.compress_type for info in archive.infolist()}
    assert {name for name, kind in kinds.items() if kind == zipfile.ZIP_STORED} == {"model/model.safetensors"}
    assert set(kinds.values()) == {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}


@pytest.mark.slow
def test_the_same_content_gives_the_same_bytes(folder, everything, tmp_path):
    first, other = (write_bundle(tmp_path / name, folder, **everything).read_bytes() for name in ("a.zip", "b.zip"))
    assert first == other
    changed = write_bundle(tmp_path / "c.zip", folder, **everything | {"report": "x"}).read_bytes()
    assert changed != first


def test_pictures_are_there_where_they_can_be_drawn(folder, everything, tmp_path):
    with zipfile.ZipFile(write_bundle(tmp_path / "b.zip", folder, **everything)) as archive:
        assert ("figures/bars.svg" in archive.namelist()) == can_draw()


def test_what_is_not_known_is_left_out(folder, tmp_path):
    with zipfile.ZipFile(write_bundle(tmp_path / "b.zip", folder, mask=MASK)) as archive:
        there = {name for name in archive.namelist() if not name.startswith("model/")}
        assert there == {"README.txt", "mask.json", "mask.csv"}
        readme = archive.read("README.txt").decode()
    assert "None" not in readme
    assert "Other files" not in readme


@pytest.mark.parametrize(
    "name",
    [
        "../up",
        "/root",
        "a/../b",
        "a//b",
        "a\\b",
        "C:x",
        "",
        ".hidden",
        "trailing.",
        "trailing ",
        "nul.txt",
        "a\nb",
        "a" * 130,
    ],
)
def test_names_that_some_system_cannot_take_are_refused(name, folder, tmp_path):
    with pytest.raises(hp.HeadPruneError, match="file names in the zip may contain letters"):
        write_bundle(tmp_path / "b.zip", folder, mask=MASK, more={name: "x"})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["MASK.json", "readme.txt", "model/config.json", "mask.json/x", "model"])
def test_nothing_is_written_over(name, folder, tmp_path):
    with pytest.raises(hp.HeadPruneError, match="file names in the zip must be unique"):
        write_bundle(tmp_path / "b.zip", folder, mask=MASK, more={name: "x"})
    assert not list(tmp_path.iterdir())


def test_figures_of_one_name_are_refused(folder, tmp_path):
    with pytest.raises(hp.HeadPruneError, match=r"file names in the zip must be unique, got 'figures/A\.html' twice"):
        write_bundle(tmp_path / "b.zip", folder, mask=MASK, figures={"a": go.Figure(), "A": go.Figure()})


def test_no_model_no_bundle(tmp_path):
    with pytest.raises(hp.HeadPruneError, match=r"no config\.json in .*; pass a folder that save_pretrained wrote"):
        write_bundle(tmp_path / "b.zip", tmp_path / "nothing", mask=MASK)


def test_links_are_not_followed(folder, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "config.json").write_text("{}")
    (mine / "passwords").symlink_to("/etc/passwd")
    with pytest.raises(hp.HeadPruneError, match="passwords is a link or not a regular file"):
        write_bundle(tmp_path / "b.zip", mine, mask=MASK)


def test_a_bundle_does_not_go_into_the_model_it_packs(folder):
    for place in (folder, folder / "b.zip"):
        with pytest.raises(hp.HeadPruneError, match="the zip file must not be a folder or inside the model folder"):
            write_bundle(place, folder, mask=MASK)


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("limit", [3_000, 40_000])
def test_no_room_on_the_disk_leaves_no_half_zip(before, limit, folder, everything, tmp_path):
    """While this process may write no larger file, as a full disk would let it: among the texts, among the weights."""
    file = tmp_path / "b.zip"
    if before:
        write_bundle(file, folder, mask=MASK)
    old, limits = file.read_bytes() if before else None, resource.getrlimit(resource.RLIMIT_FSIZE)
    options = everything | {"figures": {}}
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limits[1]))
    try:
        with pytest.raises(hp.HeadPruneError, match=r"cannot write to .*b\.zip \(.*\); free disk space"):
            write_bundle(file, folder, **options)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in tmp_path.iterdir()] == (["b.zip"] if before else [])
    assert (file.read_bytes() if before else None) == old


def test_an_earlier_bundle_is_replaced_as_any_new_file_is_made(folder, tmp_path):
    write_bundle(tmp_path / "b.zip", folder, mask=MASK)
    write_bundle(tmp_path / "b.zip", folder, mask=~MASK)
    (tmp_path / "plain").touch()
    assert (tmp_path / "b.zip").stat().st_mode == (tmp_path / "plain").stat().st_mode
    with zipfile.ZipFile(io.BytesIO((tmp_path / "b.zip").read_bytes())) as archive:
        assert json.loads(archive.read("mask.json"))["kept"] == (~MASK).tolist()


def test_facts_as_strict_json():
    facts = {1: np.float32(0.5), "a": (np.nan, np.inf, True), "b": {"c": np.array([[1, 2]])}, "r": RECORD}
    back = json.loads(as_json(facts), parse_constant=pytest.fail)
    assert (back["1"], back["a"], back["b"]) == (0.5, [None, None, True], {"c": [[1, 2]]})
    assert back["r"]["source"] == "tiny bert"
