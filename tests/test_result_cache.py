"""The result cache: stored results are bitwise identical, keys depend on every input, damage is harmless."""

import random
import shutil
import sqlite3
import threading
import warnings
import zlib
from contextlib import closing

import numpy as np
import pytest
import torch
from helpers.assert_equal import same
from helpers.tiny_models import EVERYTHING, SMALL, examples_for, random_examples, randomized, tiny
from transformers import BertConfig, BertForSequenceClassification, MistralConfig, MistralForSequenceClassification

import headprune_core as hp

TEXTS = random_examples(count=8, seed=1)
NESTED = np.cumsum(np.arange(12).reshape(1, 3, 4) == np.arange(12)[:, None, None], 0) == 0


def evaluate(model, cache, examples=TEXTS, masks=NESTED[::3], **options):
    return hp.evaluate_masks(model, examples, masks, cache=cache, batch_size=4, **options)


def curves(model, cache, examples=TEXTS, **options):
    """By random rankings and by a given ranking; neither needs a forward pass of its own."""
    scores = hp.HeadScores(model.grid, {"ae": np.random.default_rng(0).random((4, 3, 4))})
    options = {"methods": ["ae", "random"], "sparsities": [0.0, 0.25, 0.5], "n_random": 2, "batch_size": 4} | options
    return hp.sparsity_curves(model, examples, scores, cache=cache, **options)


def greedy(model, cache, examples=TEXTS, **options):
    options = {"evaluation": random_examples(count=5, seed=2), "steps": 3, "batch_size": 4} | options
    return hp.greedy_gnorm(model, examples, cache=cache, **options)


JOBS = {"evaluate_masks": evaluate, "sparsity_curves": curves, "greedy_gnorm": greedy}


@pytest.fixture(params=JOBS)
def job(request):
    return JOBS[request.param]


@pytest.fixture(scope="module")
def model():
    return hp.PrunableModel(tiny("bert"))


@pytest.fixture(scope="module")
def filled(model, tmp_path_factory):
    """A folder with the results of every job."""
    folder = tmp_path_factory.mktemp("filled")
    for job in JOBS.values():
        job(model, hp.ResultCache(folder))
    return folder


@pytest.fixture
def copied(filled, tmp_path):
    """A copy of that folder, with SQLite's side files merged into the main file."""
    folder = tmp_path / "copied"
    shutil.copytree(filled, folder)
    for path in files(folder):
        if path.read_bytes().startswith(b"SQLite format 3\0"):
            with closing(sqlite3.connect(path)) as database:
                database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return folder


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.mark.slow
def test_stored_results_are_not_recomputed(model, job, tmp_path, runs):
    alone = job(model, None)
    once = len(runs)
    cache = hp.ResultCache(tmp_path)
    first = job(model, cache)
    assert once <= len(runs) <= 2 * once
    runs.clear()
    assert same(job(model, cache), first)
    assert same(job(model, hp.ResultCache(tmp_path)), first)  # after a restart
    assert same(job(hp.PrunableModel(tiny("bert")), hp.ResultCache(tmp_path)), first)  # the same weights, loaded again
    assert len(runs) == 0
    assert same(first, alone)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["albert", "llama", "t5", "vit"])
def test_models_of_other_families(family, tmp_path, runs):
    model, examples = hp.PrunableModel(tiny(family)), examples_for(family, count=4)
    masks = np.random.default_rng(0).random((3, *model.grid.shape)) < 0.5
    for job, options in ((evaluate, {"masks": masks}), (greedy, {"evaluation": None, "steps": 2})):
        alone = job(model, None, examples, **options)
        assert same(job(model, hp.ResultCache(tmp_path), examples, **options), alone)
        runs.clear()
        assert same(job(model, hp.ResultCache(tmp_path), examples, **options), alone)
        assert len(runs) == 0


def test_only_missing_masks_are_evaluated(model, tmp_path, runs):
    alone = evaluate(model, None, masks=NESTED[:7])
    all_seven = len(runs)
    evaluate(model, hp.ResultCache(tmp_path), masks=NESTED[:4])
    runs.clear()
    assert same(evaluate(model, hp.ResultCache(tmp_path), masks=NESTED[:7]), alone)
    assert 0 < len(runs) < all_seven


def changed(change):
    """A copy of the model with one change."""
    torch_model = tiny("bert")
    with torch.no_grad():
        change(torch_model)
    return hp.PrunableModel(torch_model)


def texts(**changes):
    return TEXTS.map(lambda row: {name: change(row[name]) for name, change in changes.items()})


OTHERS = {
    "seed": lambda: (hp.PrunableModel(tiny("bert", seed=1)), {}),
    "family": lambda: (hp.PrunableModel(tiny("roberta")), {}),
    "one weight": lambda: (changed(lambda m: m.bert.encoder.layer[1].output.dense.weight[3, 5].add_(1e-3)), {}),
    "a bias": lambda: (changed(lambda m: m.classifier.bias[0].add_(1e-3)), {}),
    "a norm": lambda: (changed(lambda m: m.bert.embeddings.LayerNorm.weight[0].add_(1e-3)), {}),
    "weights in other places": lambda: (changed(swap_layers), {}),
    "the activation": lambda: (hp.PrunableModel(bert(hidden_act="relu")), {}),
    "the norm's epsilon": lambda: (hp.PrunableModel(bert(layer_norm_eps=1e-2)), {}),
    "one token": lambda: (None, {"examples": texts(input_ids=lambda ids: [ids[0] ^ 1, *ids[1:]])}),
    "shorter texts": lambda: (None, {"examples": texts(input_ids=lambda ids: ids[:-1])}),
    "fewer texts": lambda: (None, {"examples": TEXTS.select(range(5))}),
    "another order": lambda: (None, {"examples": TEXTS.select(range(7, -1, -1))}),
    "labels": lambda: (None, {"examples": texts(label=lambda label: (label + 1) % 3)}),
    "no labels": lambda: (None, {"examples": TEXTS.remove_columns("label")}),
    "dtype": lambda: (None, {"dtype": "bfloat16"}),
    "token types": lambda: (None, {"examples": TEXTS.map(lambda row: {"token_type_ids": [1] * len(row["input_ids"])})}),
}


def swap_layers(torch_model):
    layers = torch_model.bert.encoder.layer
    layers[0], layers[1] = layers[1], layers[0]


def bert(**options):
    """The same weights as `tiny("bert")` under another configuration."""
    return randomized(lambda: BertForSequenceClassification(BertConfig(**SMALL, num_labels=3, **options)))


SOME = ("one weight", "the activation", "one token", "labels", "fewer texts")
DIFFERENT = [(job, other) for job in JOBS for other in OTHERS if EVERYTHING or job == "evaluate_masks" or other in SOME]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "other"), DIFFERENT)
def test_results_of_different_inputs_are_never_found(model, name, copied, other):
    job = JOBS[name]
    another, options = OTHERS[other]()
    another = another or model
    alone = job(another, None, **options)
    assert same(job(another, hp.ResultCache(copied), **options), alone)
    if other not in ("labels", "no labels", "another order"):
        assert not same(alone, job(model, None))


@pytest.mark.slow
def test_another_attention_window_is_another_model(tmp_path):
    def windowed(width):
        more = {"num_key_value_heads": 2, "pad_token_id": 0, "num_labels": 3, "sliding_window": width}
        return hp.PrunableModel(randomized(lambda: MistralForSequenceClassification(MistralConfig(**SMALL, **more))))

    wide, narrow = (evaluate(windowed(width), hp.ResultCache(tmp_path)) for width in (6, 3))
    assert not same(wide, narrow)
    assert same(narrow, evaluate(windowed(3), None))


@pytest.mark.slow
def test_other_masks_are_never_found(model, copied, runs):
    masks = np.random.default_rng(5).random((3, 3, 4)) < 0.7
    alone = evaluate(model, None, masks=masks)
    runs.clear()
    assert same(evaluate(model, hp.ResultCache(copied), masks=masks), alone)
    assert len(runs) > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"objective": "loss"},
        {"inverse": True},
        {"heads_per_step": 2},
        {"steps": 4},
        {"evaluation": None},
        {"evaluation": TEXTS},
        {"dtype": "bfloat16"},
        {"objective": "loss", "inverse": True, "heads_per_step": 2},
    ],
    ids=str,
)
def test_greedy_runs_with_other_options_are_not_found(model, copied, options):
    assert same(greedy(model, hp.ResultCache(copied), **options), greedy(model, None, **options))


@pytest.mark.parametrize(
    "options",
    [
        {"methods": ["inverse_ae"]},
        {"n_random": 3},
        {"sparsities": [0.1, 0.9]},
        {"sparsities": [0.5, 0.25]},
        {"dtype": "bfloat16"},
    ],
    ids=str,
)
def test_curves_with_other_options_are_not_found(model, copied, options):
    assert same(curves(model, hp.ResultCache(copied), **options), curves(model, None, **options))


def noise(path, start, end):
    old = path.read_bytes()
    a, b = int(start * len(old)), int(end * len(old))
    path.write_bytes(old[:a] + random.Random(0).randbytes(b - a) + old[b:])


DAMAGE = {
    "empty": lambda path: path.write_bytes(b""),
    "cut in half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "cut short by a byte": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "not a database": lambda path: path.write_bytes(b"It was a dark and stormy night.\n" * 500),
    "noise at its start": lambda path: noise(path, 0, 0.1),
    "noise in its middle": lambda path: noise(path, 0.4, 0.6),
    "noise at its end": lambda path: noise(path, 0.8, 1),
    "noise but for its head": lambda path: noise(path, 100 / max(100, path.stat().st_size), 1),
}


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_replaced(model, copied, runs, damage):
    for path in files(copied):
        DAMAGE[damage](path)
    rebuilt(model, copied, runs)


def rebuilt(model, folder, runs):
    """Results are correct with the content of `folder`, and are stored there afterwards."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", hp.HeadPruneWarning)  # a warning is allowed but not required
        for job in JOBS.values():
            assert same(job(model, hp.ResultCache(folder)), job(model, None))
    runs.clear()
    for job in JOBS.values():
        job(model, hp.ResultCache(folder))
    assert len(runs) == 0


@pytest.mark.slow
def test_a_database_with_another_schema(model, tmp_path, runs, filled):
    """A database of the same name with other content."""
    for path in files(filled):
        with closing(sqlite3.connect(tmp_path / path.relative_to(filled))) as database, database:
            database.execute("CREATE TABLE results (something TEXT)")
            database.execute("CREATE TABLE store (something TEXT)")
    rebuilt(model, tmp_path, runs)


@pytest.mark.slow
@pytest.mark.parametrize("place", np.linspace(0.02, 0.98, 12).round(2))
def test_one_changed_byte_changes_no_result(model, copied, place):
    """SQLite does not verify its pages, so values read from it must be verified."""
    for path in files(copied):
        old = bytearray(path.read_bytes())
        if old:
            middle = int(place * (len(old) - 1))
            # a byte of an entry, not of the unused space between entries
            spot = next((i for i in range(middle, len(old)) if old[i]), middle)
            old[spot] ^= 0x41
            path.write_bytes(old)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", hp.HeadPruneWarning)
        for job in JOBS.values():
            assert same(job(model, hp.ResultCache(copied)), job(model, None))


FORGED = {  # (shape, data) of another form than any that is written here
    "shape that is no numbers": ("a b", np.arange(3.0).tobytes()),
    "shape of another size": ("7 7", np.arange(3.0).tobytes()),
    "shape of another value": ("1 1", np.ones(1).tobytes()),
    "shape that is missing": (None, np.arange(3.0).tobytes()),
    "data that are missing": ("3", None),
    "text": ("3", "not bytes"),
    "seven bytes": ("1", b"1234567"),
    "shape with a sign": ("-1", np.arange(3.0).tobytes()),
    "number of 5,000 digits": ("9" * 5000, np.arange(3.0).tobytes()),
}


@pytest.mark.slow
@pytest.mark.parametrize("forged", FORGED)
def test_a_value_of_another_form_counts_as_missing(model, copied, forged, runs):
    """With a right checksum, where one can be computed."""
    (path,) = (path for path in files(copied) if path.suffix == ".sqlite")
    shape, data = FORGED[forged]
    with closing(sqlite3.connect(path)) as database, database:
        for (key,) in database.execute("SELECT key FROM results").fetchall():
            computable = isinstance(data, bytes) and shape is not None
            crc = zlib.crc32(data, zlib.crc32(f"{key} {shape}".encode())) if computable else 0
            database.execute("UPDATE results SET shape = ?, data = ?, crc = ? WHERE key = ?", (shape, data, crc, key))
    for job in JOBS.values():
        result, notes = said(job, model, copied)
        assert same(result, job(model, None))
        assert notes == []
    runs.clear()
    assert same(evaluate(model, hp.ResultCache(copied)), evaluate(model, hp.ResultCache(copied)))  # replaced by true values
    assert len(runs) == 0


def test_bytes_changed_while_the_file_is_open(model, copied):
    cache = hp.ResultCache(copied)
    evaluate(model, cache)
    for path in files(copied):
        noise(path, 0.3, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", hp.HeadPruneWarning)
        assert same(evaluate(model, cache), evaluate(model, None))


class Failing(sqlite3.Connection):
    """A database on a full disk."""

    message = ""

    def execute(self, sql, *parameters):
        return self.cursor().execute(sql, *parameters)

    def executemany(self, sql, *parameters):
        return self.cursor().executemany(sql, *parameters)

    def cursor(self, factory=None):
        return super().cursor(FailingCursor)


class FailingCursor(sqlite3.Cursor):
    def execute(self, sql, *parameters):
        self._check(sql)
        return super().execute(sql, *parameters)

    def executemany(self, sql, *parameters):
        self._check(sql)
        return super().executemany(sql, *parameters)

    def _check(self, sql):
        if sql.lstrip().upper().startswith(("INSERT", "REPLACE", "UPDATE")):
            raise sqlite3.OperationalError(Failing.message)


@pytest.fixture(params=["database or disk is full", "attempt to write a readonly database", "disk I/O error"])
def full_disk(request, monkeypatch):
    connect = sqlite3.connect
    monkeypatch.setattr(Failing, "message", request.param)
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: connect(*a, **k | {"factory": Failing}))


def said(job, model, folder):
    """(result, warning messages) of a job with a new cache in `folder`."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = job(model, hp.ResultCache(folder))
    assert {warning.category for warning in caught} <= {hp.HeadPruneWarning}
    return result, [str(warning.message) for warning in caught]


def one_sentence(text):
    return "\n" not in text and "Traceback" not in text and len(text) < 300


@pytest.mark.slow
def test_a_full_disk_causes_one_warning_and_changes_no_result(model, job, tmp_path, full_disk):
    result, notes = said(job, model, tmp_path)
    assert same(result, job(model, None))
    assert len(notes) == 1
    assert one_sentence(notes[0])


def test_a_disk_too_small_for_the_tables(model, job, tmp_path, monkeypatch):
    """SQLite's own error for a database that is limited to one page."""
    connect = sqlite3.connect

    def small(*arguments, **options):
        database = connect(*arguments, **options)
        database.execute("PRAGMA max_page_count = 1")
        return database

    monkeypatch.setattr(sqlite3, "connect", small)
    result, notes = said(job, model, tmp_path)
    assert same(result, job(model, None))
    assert len(notes) == 1
    assert one_sentence(notes[0])


def test_a_folder_that_cannot_be_made(model, job, tmp_path):
    (tmp_path / "taken").write_text("a file where the folder should be")
    result, notes = said(job, model, tmp_path / "taken")
    assert same(result, job(model, None))
    assert len(notes) == 1
    assert one_sentence(notes[0])
    assert (tmp_path / "taken").read_text() == "a file where the folder should be"


def test_stored_results_are_found_on_a_full_disk(model, copied, runs, full_disk):
    alone = evaluate(model, None)
    runs.clear()
    assert same(evaluate(model, hp.ResultCache(copied)), alone)
    assert len(runs) == 0


@pytest.mark.slow
@pytest.mark.parametrize("shared", [True, False], ids=["one cache", "two caches"])
def test_two_threads_at_once(model, tmp_path, shared, eager_switching):
    cache, results, errors = hp.ResultCache(tmp_path), {}, []
    masks = {0: NESTED[:8], 1: NESTED[4:]}
    ready = threading.Barrier(2)

    def work(number):
        try:
            ready.wait(30)
            results[number] = [
                evaluate(model, cache if shared else hp.ResultCache(tmp_path), masks=masks[number]) for _ in range(3)
            ]
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in masks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    for number, found in results.items():
        alone = evaluate(model, None, masks=masks[number])
        assert all(same(one, alone) for one in found)
    assert len(results) == 2


def test_cancelled_curves_are_resumed(model, tmp_path, runs):
    alone = curves(model, None)
    once = len(runs)

    def stop(done, total, note):
        if done > total / 2:
            raise hp.Cancelled("enough")

    with pytest.raises(hp.Cancelled):
        curves(model, hp.ResultCache(tmp_path), progress=stop)
    runs.clear()
    assert same(curves(model, hp.ResultCache(tmp_path)), alone)
    assert 0 < len(runs) < once


def test_the_cache_folder_need_not_exist(model, tmp_path):
    evaluate(model, hp.ResultCache(tmp_path / "not" / "yet"))
    assert files(tmp_path / "not" / "yet")


def test_nothing_is_written_without_a_cache(model, job, tmp_path, monkeypatch):
    for name in ("XDG_CACHE_HOME", "HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(tmp_path))
    job(model, None)
    assert files(tmp_path) == []
