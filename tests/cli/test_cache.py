"""`headprune cache`: folder, size, number of results and limit; `--clear` beside another process that uses the cache."""

import json
import sqlite3
from contextlib import closing

import numpy as np
import pytest

import headprune_core as hp
from headprune_core import result_cache
from headprune_core.cli.main import main


@pytest.fixture(autouse=True)
def a_cache_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADPRUNE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def used():
    """The cache of a running server."""
    cache = hp.ResultCache.default()
    with cache.committing():
        for number in range(1200):
            cache.put(f"key {number}", np.zeros(100))
    return cache


def printed(capsys, *arguments):
    assert main(["cache", *arguments]) == 0
    return capsys.readouterr().out


def test_the_table(capsys, used, tmp_path):
    assert printed(capsys).splitlines() == [
        f"folder   {tmp_path / 'cache'}",
        "results  1,200",
        f"size     {used.path.stat().st_size / 2**20:.1f} MiB",
        "limit    1,024 MiB; beyond it, the oldest results are removed",
    ]


def test_the_document(capsys, used, tmp_path):
    document = json.loads(printed(capsys, "--json"))
    size = used.path.stat().st_size
    assert document == {"folder": str(tmp_path / "cache"), "n_results": 1200, "n_bytes": size, "max_bytes": 2**30}


def test_clear_beside_a_running_server(capsys, used):
    assert printed(capsys, "--clear").startswith("1,200 results were removed.\n")
    assert used.get(["key 1"]) == {}
    with used.committing():
        used.put("later", np.ones(2))
    assert json.loads(printed(capsys, "--json"))["n_results"] == 1
    assert json.loads(printed(capsys, "--clear", "--json"))["cleared"] == 1


def test_a_cache_that_does_not_exist_is_not_created(capsys, tmp_path):
    assert "results  0" in printed(capsys)
    assert printed(capsys, "--clear").startswith("0 results were removed.\n")
    assert not (tmp_path / "cache").exists()


def test_a_locked_cache_is_one_sentence(capsys, used, monkeypatch):
    monkeypatch.setattr(result_cache, "WRITE_TIMEOUT_S", 0)
    with closing(sqlite3.connect(used.path)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        assert main(["cache", "--clear"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("headprune: cannot clear the result cache in ")
    assert error.count("\n") == 1


def test_the_document_does_not_replace_the_cache(capsys, used):
    assert main(["cache", "--out", str(used.path)]) == 2
    assert "which the result cache reads" in capsys.readouterr().err
    assert used.get(["key 1"])
