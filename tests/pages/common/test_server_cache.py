"""The cache that sessions share: values are computed once and kept a while, and waiting can be cancelled."""

import json
import os
import threading
import time
from pathlib import Path

import pytest
import torch
from helpers.tiny_models import tiny
from huggingface_hub.errors import LocalEntryNotFoundError

from headprune_core import Cancelled, HeadPruneError, PrunableModel
from pages.parts.common import server_cache
from pages.parts.common.server_cache import LRUCache, ServerState, hold_lock, model_version


def silent(done, total, note):
    pass


def test_sessions_that_ask_at_once_get_the_same_value_made_once():
    shelf, made = LRUCache(2), []

    def make():
        time.sleep(0.1)
        made.append(object())
        return made[-1]

    got = []
    threads = [threading.Thread(target=lambda: got.append(shelf.get("key", make, silent))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert all(value is made[0] for value in got)


def test_the_value_not_asked_for_longest_goes_first():
    shelf, made = LRUCache(2), []
    for key in ("a", "b", "a", "c", "a", "b"):
        shelf.get(key, lambda key=key: made.append(key), silent)
    assert made == ["a", "b", "c", "b"]


def test_a_failure_is_not_kept():
    shelf = LRUCache(2)
    with pytest.raises(ZeroDivisionError):
        shelf.get("key", lambda: 1 / 0, silent)
    assert shelf.get("key", lambda: 7, silent) == 7


def test_waiting_for_a_turn_is_told_and_can_be_cancelled():
    turn, notes = threading.Lock(), []

    def cancel_when_told(done, total, note):
        notes.append(note)
        raise Cancelled

    with turn, pytest.raises(Cancelled), hold_lock(turn, cancel_when_told):
        pytest.fail("the turn was another session's")
    assert notes == ["Waiting for another session that computes the same"]
    with hold_lock(turn, cancel_when_told):
        assert turn.locked()
    assert not turn.locked()


def test_a_look_makes_nothing_and_finds_what_is_there():
    shelf = LRUCache(2)
    assert shelf.peek("key") is None
    shelf.get("key", lambda: 7, silent)
    assert shelf.peek("key") == 7


def test_the_version_of_a_folder_changes_with_every_write(tmp_path):
    file, versions = tmp_path / "model.safetensors", [model_version(str(tmp_path))]

    def changed() -> bool:
        versions.append(model_version(str(tmp_path)))
        assert versions[-1] == model_version(str(tmp_path))
        return versions[-1] not in versions[:-1]

    file.write_bytes(b"1234")
    assert changed()
    times = file.stat()
    time.sleep(0.02)  # more than the resolution of the file system's clock
    file.write_bytes(b"5678")  # the same size
    assert changed()
    time.sleep(0.02)
    (tmp_path / "new").write_bytes(b"9012")
    os.utime(tmp_path / "new", ns=(times.st_atime_ns, times.st_mtime_ns))
    (tmp_path / "new").replace(file)  # the same size and time of modification, as some copying tools leave them
    assert changed()
    (tmp_path / "tokenizer.json").write_text("{}")
    assert changed()


def test_the_version_of_an_adapter_changes_with_its_base_model(tmp_path):
    base, adapter = tmp_path / "base", tmp_path / "adapter"
    for folder in (base, adapter):
        folder.mkdir()
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(base)}))
    before = model_version(str(adapter))
    (base / "model.safetensors").write_bytes(b"1234")
    assert model_version(str(adapter)) != before


def test_the_version_of_a_hub_model_is_its_commit(monkeypatch):
    commits = {"main": "a" * 40, "v2": "b" * 40}

    def download(source, file, revision):
        return f"/cache/models--{source.replace('/', '--')}/snapshots/{commits[revision or 'main']}/{file}"

    monkeypatch.setattr(server_cache, "hf_hub_download", download)
    assert model_version("user/model") == "a" * 40
    assert model_version("user/model", "v2") == "b" * 40
    commits["main"] = "c" * 40
    assert model_version("user/model") == "c" * 40


def test_a_model_whose_version_is_unknown_is_never_taken_from_memory(monkeypatch):
    def unreachable(*_, **__):
        raise LocalEntryNotFoundError("offline")

    monkeypatch.setattr(server_cache, "hf_hub_download", unreachable)
    assert model_version("user/model") != model_version("user/model")
    assert model_version("embedded") == model_version("embedded") == ""


def test_a_model_that_is_written_while_it_is_loaded_is_refused(tmp_path, monkeypatch):
    tiny("bert").save_pretrained(tmp_path)
    loader = PrunableModel.from_pretrained

    def slowly(source, **options):
        model = loader(source, **options)
        (Path(source) / "config.json").touch()
        return model

    monkeypatch.setattr(PrunableModel, "from_pretrained", slowly)
    with pytest.raises(HeadPruneError, match="changed while they were loaded; load the model again"):
        ServerState().model(str(tmp_path), None, silent)
    monkeypatch.setattr(PrunableModel, "from_pretrained", loader)
    state = ServerState()
    first, version = state.model(str(tmp_path), None, silent)
    assert state.model(str(tmp_path), None, silent) == (first, version)


def test_a_loaded_model_does_not_change_when_its_file_is_written_in_place(tmp_path):
    tiny("bert").save_pretrained(tmp_path)
    model, version = ServerState().model(str(tmp_path), None, silent)
    before = {name: tensor.clone() for name, tensor in model.model.state_dict().items()}
    with (tmp_path / "model.safetensors").open("r+b") as file:
        file.seek(-4096, os.SEEK_END)
        file.write(b"\x40" * 4096)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.model.state_dict().items())
    assert model_version(str(tmp_path)) != version


def test_loading_a_model_reports_and_can_be_cancelled(tmp_path):
    folder, state, notes = tmp_path / "model", ServerState(), []
    PrunableModel(tiny("bert")).save_pretrained(folder)

    def cancel_at_the_weights(done, total, note):
        notes.append(note)
        if note == "Loading the weights":
            raise Cancelled

    with pytest.raises(Cancelled):
        state.model(str(folder), None, cancel_at_the_weights)
    assert notes[0] == "Checking the files"
    model, _ = state.model(str(folder), None, silent)
    assert model.grid.shape == (3, 4)
