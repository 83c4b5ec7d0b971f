"""Pruned models by Hub model ID with the real client: offline from the cache, and from a local server."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import peft
import pytest
from helpers.tiny_models import tiny, tiny_tokenizer

import headprune_core as hp
from headprune_core.model.head_map import HEAD_MAP
from headprune_core.model.loading import is_hub_id

ROOT = Path(__file__).parents[2]
UNREACHABLE = "user/unreachable"  # the server closes the connections that ask for it
COMMIT = "0123456789abcdef0123456789abcdef01234567"
LOAD = """
import json, sys
import headprune_core as hp

def found(source, revision):
    try:
        model = hp.PrunableModel.from_pretrained(source, revision=revision, device="cpu")
    except hp.HeadPruneError as error:
        return str(error)
    numbers = {"kept": model.grid.kept.tolist(), "parameters": sum(p.numel() for p in model.model.parameters())}
    return numbers | {"name": model.name, "words": model.tokenizer("w7 w8")["input_ids"]}

print(json.dumps([found(*source) for source in json.loads(sys.argv[1])]))
"""


def mask():
    kept = np.ones((3, 4), bool)
    kept[0, :2], kept[1] = False, False
    return kept


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Folder of a pruned model with extra files, which must not be downloaded."""
    place = tmp_path_factory.mktemp("pruned") / "model"
    hp.prune_heads(hp.PrunableModel(tiny("bert"), tokenizer=tiny_tokenizer()), mask()).save_pretrained(place)
    (place / "pytorch_model.bin").write_bytes(b"pickle")
    (place / "modeling.py").write_text("raise SystemExit('run')")
    return place


@pytest.fixture(scope="module")
def whole_folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("whole") / "model"
    hp.PrunableModel(tiny("bert"), tokenizer=tiny_tokenizer()).save_pretrained(place)
    return place


def cached(home, source, folder, leave_out=()):
    """A cache in the format of the Hub's client: files by content, and names that link to them."""
    place = home / "hub" / f"models--{source.replace('/', '--')}"
    snapshot = place / "snapshots" / COMMIT
    for part in (snapshot, place / "blobs", place / "refs"):
        part.mkdir(parents=True)
    for file in folder.iterdir():
        if file.name not in leave_out and file.suffix not in (".bin", ".py"):
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            (place / "blobs" / digest).write_bytes(file.read_bytes())
            (snapshot / file.name).symlink_to(f"../../blobs/{digest}")
    (place / "refs" / "main").write_text(COMMIT)
    (place / "refs" / "v2").write_text(COMMIT)
    return snapshot


def load(home, *sources, endpoint=None):
    """What a new process loads for Hub model IDs (and revisions) with that cache, offline or from `endpoint`.

    Each a dict of what the model is, or the sentence that says why there is none.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGINGFACE"))}
    own = {"HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "OMP_NUM_THREADS": "1"}
    own |= {"HF_HUB_OFFLINE": "1"} if endpoint is None else {"HF_ENDPOINT": endpoint, "NO_PROXY": "*", "no_proxy": "*"}
    asked = json.dumps([source if isinstance(source, tuple) else (source, None) for source in sources])
    command = [sys.executable, "-c", LOAD, asked]
    done = subprocess.run(command, cwd=ROOT, env=kept | own, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def check(found, source, folder):
    assert isinstance(found, dict), found
    assert found["name"] == source
    assert found["kept"] == mask().tolist()
    assert found["words"] == [2, 7, 8, 3]
    here = hp.PrunableModel.from_pretrained(folder, device="cpu")
    assert found["parameters"] == sum(p.numel() for p in here.model.parameters())


@pytest.fixture(scope="module")
def v4_folder(tmp_path_factory):
    """Folder as Transformers v4 saved pruned models: the config names the heads of layer 0 that are gone."""
    kept, place = np.ones((3, 4), bool), tmp_path_factory.mktemp("v4") / "model"
    kept[0, :2] = False
    hp.prune_heads(hp.PrunableModel(tiny("bert"), tiny_tokenizer()), kept).save_pretrained(place)
    (place / HEAD_MAP).unlink()
    config = json.loads((place / "config.json").read_text())
    (place / "config.json").write_text(json.dumps(config | {"pruned_heads": {"0": [1, 0]}}))
    return place, kept


def adapter_folder(place, base):
    """Folder of a PEFT adapter that names its base model."""
    adapted = peft.get_peft_model(tiny("bert"), peft.LoraConfig(task_type="SEQ_CLS", target_modules=["query"]))
    adapted.save_pretrained(place)
    adapter = json.loads((place / "adapter_config.json").read_text())
    (place / "adapter_config.json").write_text(json.dumps(adapter | {"base_model_name_or_path": base}))
    return place


class Hub(BaseHTTPRequestHandler):
    """The part of the Hub's protocol that downloads use: file metadata, file contents and file lists."""

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body: bool):
        path = unquote(urlsplit(self.path).path)
        self.server.asked.append((self.command, path))
        if UNREACHABLE in path:
            self.close_connection = True
            return None
        for source, folder in self.server.models.items():
            if path.startswith(f"/{source}/resolve/"):
                name = path.split("/", 5)[5]
                file = folder / name
                if not file.is_file():
                    return self.say(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT}, body)
                content = file.read_bytes()
                etag = f'"{hashlib.sha256(content).hexdigest()}"'
                return self.say(200, content, {"ETag": etag, "X-Repo-Commit": COMMIT}, body)
            if path.startswith(f"/api/models/{source}/tree"):
                files = [
                    {
                        "type": "file",
                        "path": f.name,
                        "size": f.stat().st_size,
                        "oid": hashlib.sha1(f.read_bytes()).hexdigest(),
                    }
                    for f in sorted(folder.iterdir())
                ]
                return self.say(200, json.dumps(files).encode(), {"Content-Type": "application/json"}, body)
            if path.startswith(f"/api/models/{source}"):
                about = {"id": source, "sha": COMMIT, "siblings": [{"rfilename": f.name} for f in folder.iterdir()]}
                return self.say(200, json.dumps(about).encode(), {"Content-Type": "application/json"}, body)
        return self.say(404, b"", {"X-Error-Code": "RepoNotFound"}, body)

    def say(self, status: int, content: bytes, headers: dict, body: bool):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *arguments):
        pass


@contextmanager
def serving(models):
    """A server on this machine, and its address."""
    hub = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    vars(hub).update(models=models, asked=[])
    thread = threading.Thread(target=hub.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub, f"http://127.0.0.1:{hub.server_port}"
    finally:
        hub.shutdown()
        thread.join()
        hub.server_close()


@pytest.fixture(scope="module")
def downloads(folder, whole_folder, tmp_path_factory):
    """What one process loads from a server, the requests that the server was sent, and the cache that is left."""
    home, models = tmp_path_factory.mktemp("home"), {"user/pruned": folder, "user/whole": whole_folder}
    with serving(models) as (hub, endpoint):
        found = load(home, "user/pruned", "user/whole", "user/nobody", UNREACHABLE, endpoint=endpoint)
        return found, list(hub.asked), home


@pytest.mark.slow
def test_a_pruned_model_is_downloaded_without_code(downloads, folder):
    (pruned, whole, nobody, _), asked, home = downloads
    check(pruned, "user/pruned", folder)
    assert np.array(whole["kept"]).all()
    assert nobody.startswith("model user/nobody not found on the Hub, or it is private")
    assert sum(path.startswith("/user/whole/") and path.endswith(HEAD_MAP) for _, path in asked) == 1
    snapshot = home / "hub" / "models--user--pruned" / "snapshots" / COMMIT
    names = {file.name for file in snapshot.iterdir()}
    assert {"config.json", HEAD_MAP, "model.safetensors", "tokenizer.json"} <= names
    assert not names & {"pytorch_model.bin", "modeling.py"}


@pytest.mark.slow
def test_an_unreachable_hub_is_tried_once(downloads):
    """Ordinary loading would send the request and wait again, with the same result."""
    (*_, error), asked, _ = downloads
    assert error.startswith(f"could not reach the Hub to load {UNREACHABLE}; check the network")
    assert {path for _, path in asked if UNREACHABLE in path} == {f"/{UNREACHABLE}/resolve/main/{HEAD_MAP}"}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`")  # peft uses the old name
def test_cached_models_load_offline_by_their_ids(folder, v4_folder, downloads, tmp_path):
    shutil.copytree(downloads[2], tmp_path, symlinks=True, dirs_exist_ok=True)
    cached(tmp_path, "user/cached", folder)
    cached(tmp_path, "user/part", folder, leave_out=("model.safetensors",))
    cached(tmp_path, "user/v4", v4_folder[0])
    cached(tmp_path, "user/adapter", adapter_folder(tmp_path / "adapter", "user/whole"))
    cached(tmp_path, "user/alone", adapter_folder(tmp_path / "alone", "user/base"))
    revisions = [("user/cached", revision) for revision in (None, "v2", COMMIT)]
    others = ("user/whole", "user/other", ("user/cached", "v3"), "user/part", "user/v4", "user/adapter", "user/alone")
    before, *pruned, whole, other, unknown, part, v4, merged, alone = load(tmp_path, "user/pruned", *revisions, *others)
    check(before, "user/pruned", folder)  # what was downloaded is there offline
    for found in pruned:
        check(found, "user/cached", folder)
    assert np.array(whole["kept"]).all()
    assert whole["name"] == "user/whole"
    for error, source in ((other, "user/other"), (unknown, "user/cached")):
        assert error.startswith(f"could not reach the Hub to load {source}; check the network")
    assert "part" in part
    assert "safetensors" in part
    assert "\n" not in part
    assert v4["kept"] == v4_folder[1].tolist()
    assert np.array(merged["kept"]).all()
    assert merged["name"] == "user/adapter"
    assert merged["words"] == [2, 7, 8, 3]
    assert "contains a PEFT adapter for user/base, which cannot be loaded (could not reach the Hub" in alone


def test_hub_model_ids(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models" / "bert").mkdir(parents=True)
    ids = ("user/model", "gpt2", "a-b/c.d_e")
    no_ids = ("models/bert", "models", "./user/model", "~/model", "/user/model", "a/b/c", "", "two words", "https://host/a")
    assert [is_hub_id(source) for source in (*ids, *no_ids)] == [True] * len(ids) + [False] * len(no_ids)
