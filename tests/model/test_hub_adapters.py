"""Adapters of the Hub: their base model is another Hub model, never a folder of the user who loads them."""

import pytest
import torch
from helpers.tiny_models import tiny

from headprune_core import HeadPruneError
from headprune_core.model.formats.adapter import Adapter
from headprune_core.model.loading import _merged, check_not_local, has_hub_form


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A working directory with a model in the folder own/model."""
    place = tmp_path_factory.mktemp("w")
    tiny("bert").save_pretrained(place / "own/model")
    return place


@pytest.mark.parametrize("base", ["{folder}/own/model", "own/model", "./own/model", "~/own/model", "../w/own/model"])
def test_an_adapter_of_the_hub_opens_no_folder(folder, monkeypatch, base):
    monkeypatch.chdir(folder)
    adapter = Adapter(folder, base.format(folder=folder), None, None, {})
    with pytest.raises(HeadPruneError, match=r"no Hub model ID|could not reach the Hub"):
        _merged(adapter, torch.float32, in_folder=False)


def test_a_hub_id_that_names_a_folder_is_as_unknown_as_any_other(folder, monkeypatch):
    monkeypatch.chdir(folder)
    check_not_local("no/such", None)
    with pytest.raises(HeadPruneError, match="could not reach the Hub to load own/model"):
        check_not_local("own/model", None)


@pytest.mark.parametrize("name", ["a/..", "..", "a/../b", "/a/b", "a/b/c", "a b", "a/b\n", "~", "é/b", ".a/b"])
def test_paths_have_not_the_form_of_an_id(name):
    assert not has_hub_form(name)


@pytest.mark.parametrize("name", ["gpt2", "a/b", "textattack/bert-base-uncased-SST-2", "a/b.c_d", "_a/-b"])
def test_ids(name):
    assert has_hub_form(name)
