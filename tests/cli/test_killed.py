"""Commands that are killed in the middle: the next run leaves nothing behind, and its results are the same."""

import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from helpers.tiny_models import tiny, tiny_tokenizer

from headprune_core.cli.main import main

TESTS = Path(__file__).resolve().parents[1]
KILLED = {  # what the command does when it is killed: the call that kills it
    "fine-tuning": ("torch.nn.utils", "clip_grad_norm_", "2"),
    "writing the zip": ("shutil", "copyfileobj", "2"),
}
SAME = ("model/model.safetensors", "model/head_map.json", "mask.csv", "scores.csv")  # other files hold durations
RUN = (
    "prune",
    "--model",
    "model",
    "--dataset",
    "table.csv",
    "--sparsity",
    "0.5",
    "--n-random",
    "2",
    "--finetune-steps",
    "3",
)
RUN += ("--calibration-size", "4", "--evaluation-size", "6")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no such signal here"),
]


def content(file):
    with zipfile.ZipFile(file) as archive:
        return [archive.read(name) for name in SAME]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a model, a table and the zip of an uninterrupted run."""
    folder = tmp_path_factory.mktemp("place")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("PATH", "")  # no browser, which draws figures for seconds
        tiny("bert").save_pretrained("model")
        tiny_tokenizer(model_max_length=20).save_pretrained("model")
        Path("table.csv").write_text("text,label\n" + "\n".join(f"w{i} w{i + 1} w{2 * i + 3},{i % 3}" for i in range(12)))
        assert main([*RUN, "--no-cache", "--bundle", "uninterrupted.zip"]) == 0
    return folder


def test_the_run_after_two_killed_ones_gives_the_same_and_leaves_nothing(place, tmp_path, monkeypatch):
    temporary, out = tmp_path / "temporary", tmp_path / "out"
    temporary.mkdir()
    out.mkdir()
    monkeypatch.chdir(place)
    monkeypatch.setenv("HEADPRUNE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    run = [*RUN, "--bundle", str(out / "all.zip")]
    for call in KILLED.values():
        command = [sys.executable, str(TESTS / "helpers/killed_command.py"), *call, *run]
        paths = os.pathsep.join([str(TESTS), str(TESTS.parent), os.environ.get("PYTHONPATH", "")])
        environment = os.environ | {"PYTHONPATH": paths, "TMPDIR": str(temporary)}
        killed = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        assert not (out / "all.zip").exists()
    assert [*out.iterdir()]  # of the one that wrote the zip
    assert [*temporary.glob("headprune-*")]
    assert main(run) == 0
    assert [file.name for file in out.iterdir()] == ["all.zip"]
    assert not [*temporary.glob("headprune-*")]
    assert content(out / "all.zip") == content(place / "uninterrupted.zip")
