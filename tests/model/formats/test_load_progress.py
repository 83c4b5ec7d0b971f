"""Progress and cancellation while a model is loaded."""

import shutil
import threading
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from helpers.tiny_models import tiny, tiny_tokenizer

import headprune_core as hp
from headprune_core.errors import Cancelled
from headprune_core.jobs import Job
from headprune_core.model.formats import load_progress
from headprune_core.model.formats.load_progress import STEPS, begin_step, download_reports, reporting

load = partial(hp.PrunableModel.from_pretrained, device="cpu")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A model and a pruned model."""
    place = tmp_path_factory.mktemp("saved")
    model = hp.PrunableModel(tiny("bert"), tiny_tokenizer())
    model.save_pretrained(place / "model")
    kept = torch.ones(model.grid.shape, dtype=torch.bool).numpy()
    kept[0, :2] = False
    hp.prune_heads(model, kept).save_pretrained(place / "pruned")
    return place


@pytest.fixture
def every_call(monkeypatch):
    """Reports at every call of PyTorch instead of ten times a second."""
    monkeypatch.setattr(load_progress, "INTERVAL", -1.0)


def reports(folder) -> list[tuple[int, int, str]]:
    seen = []
    load(folder, progress=lambda *report: seen.append(report))
    return seen


@pytest.mark.parametrize("kind", ["model", "pruned"])
def test_every_step_is_reported_in_order(saved, every_call, kind):
    seen = reports(saved / kind)
    assert list(dict.fromkeys(seen)) == [(step, len(STEPS), name) for step, name in enumerate(STEPS)]
    assert all([report[2] for report in seen].count(name) > 10 for name in ("Loading the weights", "Locating the heads"))


@pytest.mark.parametrize("kind", ["model", "pruned"])
@pytest.mark.parametrize("share", [0, 0.05, 0.2, 0.5, 0.8, 0.95])
def test_an_exception_of_the_callback_ends_the_loading(saved, every_call, kind, share):
    last = int(share * len(reports(saved / kind)))
    calls, stop = [], Cancelled("loading was cancelled")

    def progress(done, total, note):
        calls.append(note)
        if len(calls) > last:
            raise stop

    with pytest.raises(Cancelled) as caught:
        load(saved / kind, progress=progress)
    assert caught.value is stop
    assert len(calls) == last + 1


def test_a_cancelled_job_stops_and_the_model_loads_again(saved, every_call):
    reached = threading.Event()

    def work(progress):
        def report(*state):
            reached.set()
            progress(*state)

        while True:
            load(saved / "model", progress=report)

    job = Job("loading", work)
    assert reached.wait(30)
    job.cancel()
    assert job.wait(30)
    assert job.state == "cancelled"
    assert load(saved / "model").grid.shape == (3, 4)


def test_an_exception_that_a_library_replaces_is_raised_all_the_same():
    stop = Cancelled("loading was cancelled")

    def progress(*_):
        raise stop

    def load_badly(replace):
        with reporting(progress):
            try:
                begin_step(STEPS[0])
            except Cancelled as error:
                if replace:
                    raise OSError("the library could not load it") from error

    for replace in (True, False):
        with pytest.raises(Cancelled) as caught:
            load_badly(replace)
        assert caught.value is stop


def test_weights_do_not_depend_on_reports(saved, every_call):
    expected = load(saved / "model").model.state_dict()
    weights = load(saved / "model", progress=lambda *_: None).model.state_dict()
    assert all(torch.equal(weights[name], weight) for name, weight in expected.items())


def test_other_threads_are_not_reported(saved, every_call):
    seen = []

    def progress(*_):
        seen.append(threading.get_ident())

    with reporting(progress):
        other = threading.Thread(target=lambda: [torch.ones(2) + 1 for _ in range(50)])
        other.start()
        other.join()
        torch.ones(2)
    assert set(seen) == {threading.get_ident()}


def test_downloads_report_from_their_own_threads():
    stop = Cancelled("loading was cancelled")
    state = SimpleNamespace(stop=False, calls=0, caught=None)

    def progress(*_):
        state.calls += 1
        if state.stop:
            raise stop

    def download(bar):
        try:
            with bar(total=10, disable=True) as shown:
                shown.update(5)
                state.stop = True
                shown.update(5)
        except Cancelled as error:
            state.caught = error

    def load_from_hub():
        with reporting(progress):
            worker = threading.Thread(target=download, args=(download_reports(),))
            worker.start()
            worker.join()

    with pytest.raises(Cancelled):
        load_from_hub()
    assert state.caught is stop
    assert state.calls == 2
    assert download_reports() is None
    with reporting(None):
        assert download_reports() is None


def test_the_builtin_model_takes_a_callback():
    assert hp.PrunableModel.from_pretrained("embedded", device="cpu", progress=lambda *_: None).grid.shape == (6, 12)


def test_a_damaged_folder_is_reported_as_without_a_callback(saved, tmp_path):
    folder = shutil.copytree(saved / "model", tmp_path / "model")
    (folder / "config.json").write_text("{")
    with pytest.raises(hp.HeadPruneError, match="is not valid JSON"):
        load(folder, progress=lambda *_: None)
