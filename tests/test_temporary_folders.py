"""Temporary folders: those of killed processes are deleted, and nothing else is."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from headprune_core.model.model_io import atomic_folder
from headprune_core.output_files import atomic_file
from headprune_core.temporary_folders import create_folder, delete_folder, delete_leftovers, scratch_folder

ROOT = Path(__file__).resolve().parents[1]
DAY = 86_400
PROCESS = """
import importlib.util, sys, types
sys.modules["headprune_core"] = package = types.ModuleType("headprune_core")
package.__path__ = [sys.argv[1]]  # without PyTorch, which takes seconds to import
from pathlib import Path
from headprune_core.output_files import atomic_file
from headprune_core.temporary_folders import scratch_folder
with atomic_file(sys.argv[2]) as new, scratch_folder() as scratch:
    new.write_text("half")
    (scratch / "weights").write_text("half")
    print("ready", flush=True)
    input()
"""


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def process(tmp_path, monkeypatch):
    """A process that has half written place/all.zip, and a folder in the temporary folder."""
    place, temporary = tmp_path / "place", tmp_path / "temporary"
    place.mkdir()
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    command = [sys.executable, "-c", PROCESS, str(ROOT / "headprune_core"), str(place / "all.zip")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=os.environ | {"TMPDIR": str(temporary)}, **pipes) as started:
        assert started.stdout.readline() == "ready\n"
        yield started
        started.kill()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no such signal here")
def test_what_a_killed_process_left_is_deleted_and_not_before(process, tmp_path):
    place, temporary = tmp_path / "place", tmp_path / "temporary"
    (left,), (scratch,) = names(place), names(temporary)
    for folder in (place / left, temporary / scratch):
        os.utime(folder, (0, 0))  # a server may use its folder for days
    delete_leftovers(place)
    delete_leftovers()
    assert (names(place), names(temporary)) == ([left], [scratch])
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    assert (names(place), names(temporary)) == ([left], [scratch])
    with atomic_file(place / "other.zip") as new:
        new.write_text("whole")
    with scratch_folder():
        pass
    assert (names(place), names(temporary)) == (["other.zip"], [])


FOREIGN = [
    ".all.zip-0123456789abcdef",
    "headprune-notes",
    "headprune-0123456789ABCDEF",
    "headprune-0123456789abcdef0",
    ".git",
]


def test_nothing_else_is_deleted(tmp_path):
    for name in FOREIGN:
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (0, 0))
    (tmp_path / "headprune-0123456789abcdef").write_text("a file")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("mine")
    (tmp_path / ".x-headprune-0123456789abcdef").symlink_to(tmp_path / "mine")
    before = names(tmp_path)
    delete_leftovers(tmp_path)
    assert names(tmp_path) == before
    assert (tmp_path / "mine" / "file").read_text() == "mine"
    delete_leftovers(tmp_path / "nowhere")


def test_without_locks_a_folder_is_deleted_when_it_is_a_day_old(tmp_path, monkeypatch):
    monkeypatch.setattr("headprune_core.temporary_folders.fcntl", None)
    old, new = create_folder(tmp_path, "model"), create_folder(tmp_path, "model")
    os.utime(old, (time.time() - DAY - 60,) * 2)
    delete_leftovers(tmp_path)
    assert [*tmp_path.iterdir()] == [new]
    delete_folder(new)
    assert names(tmp_path) == []


def test_the_only_copy_of_an_earlier_model_is_kept(tmp_path):
    """A process is killed after it has moved the earlier model aside, and before it has renamed the new one."""
    left = tmp_path / ".model-headprune-0123456789abcdef"
    (left / "old-0").mkdir(parents=True)
    (left / "old-0" / "config.json").write_text("{}")
    delete_leftovers(tmp_path)
    assert (left / "old-0" / "config.json").read_text() == "{}"


def test_a_replaced_model_is_no_such_copy(tmp_path, monkeypatch):
    """A process is killed after both renames."""
    monkeypatch.setattr("headprune_core.output_files.delete_folder", lambda folder: None)
    for content in ("{}", "{ }"):
        with atomic_folder(tmp_path / "model", overwrite=True) as new:
            (new / "config.json").write_text(content)
            (new / "model.safetensors").write_text("")
    (left,) = (path for path in tmp_path.iterdir() if path.name != "model" and [*path.iterdir()])
    left.rename(tmp_path / ".model-headprune-0123456789abcdef")
    monkeypatch.undo()
    assert (tmp_path / "model" / "config.json").read_text() == "{ }"
    delete_folder(left)  # releases the lock
    delete_leftovers(tmp_path)
    assert not (tmp_path / ".model-headprune-0123456789abcdef").exists()


def test_a_folder_is_private_only_in_the_temporary_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with scratch_folder() as folder:
        assert folder.stat().st_mode & 0o077 == 0
