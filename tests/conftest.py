"""Fixtures that several test modules share: the real built-in model and dataset, loaded once per worker process.

Tests run in one process per core (pytest-xdist) with one thread each: processes of two threads would wait for each other.
"""

import gc
import os
import sys
import tempfile

os.environ.setdefault("HEADPRUNE_CACHE", tempfile.mkdtemp(prefix="headprune-"))  # results of tests stay out of the user's
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read when the hub client is imported
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when PyTorch is imported

import pytest
from hypothesis import settings

import headprune_core as hp

settings.register_profile("tests", max_examples=50, deadline=None, derandomize=True, database=None)
settings.load_profile("tests")


def pytest_collection_modifyitems(items):
    """Every test in tests/browser drives a browser."""
    for item in items:
        if "browser" in item.path.parts:
            item.add_marker("browser")


def pytest_collection_finish():
    """What is imported by now stays: the collector need not walk through PyTorch and Transformers again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)


@pytest.fixture(scope="session")
def embedded_model():
    return hp.PrunableModel.from_pretrained("embedded")


@pytest.fixture(scope="session")
def calibration():
    return hp.load_examples("embedded")


@pytest.fixture(scope="session")
def embedded_scores(embedded_model, calibration):
    return hp.score_heads(embedded_model, calibration)


@pytest.fixture
def eager_switching():
    """Threads that take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.fixture
def runs(monkeypatch):
    """Grows by one whenever any model is run."""
    counted, logits = [], hp.PrunableModel.logits

    def counting(self, *arguments, **options):
        counted.append(1)
        return logits(self, *arguments, **options)

    monkeypatch.setattr(hp.PrunableModel, "logits", counting)
    return counted
