"""Datasets of the Hub by ID: no file or folder of the working directory is read in their place."""

import datasets
import pytest

from headprune_core import HeadPruneError, plan_examples
from headprune_core.data.source_tables import HubDataset, check_hub_files


def error_of(name: str) -> str:
    with pytest.raises(HeadPruneError) as error:
        plan_examples(HubDataset(name))
    return str(error.value)


@pytest.mark.slow
def test_a_folder_of_the_same_name_is_not_read_and_not_revealed(tmp_path, monkeypatch):
    """There is no network in tests, so an ID that nothing local has is refused in the same words."""
    (tmp_path / "own/name").mkdir(parents=True)
    (tmp_path / "own/name/diary.txt").write_text("my password is hunter2\n" * 9)
    (tmp_path / "own/file").write_text("my password is hunter2\n" * 9)
    monkeypatch.chdir(tmp_path)
    expected = error_of("no/such")
    assert error_of("own/name").replace("own/name", "no/such") == expected
    assert error_of("own/file").replace("own/file", "no/such") == expected


@pytest.mark.parametrize("name", ["text", "json", "/etc", "own/name/diary.txt", "../x", "~/x"])
def test_what_is_no_id_is_refused(name, tmp_path, monkeypatch):
    (tmp_path / "secret.txt").write_text("hunter2\n" * 9)
    monkeypatch.chdir(tmp_path)
    assert "must have the form owner/name" in error_of(name)


def test_a_dataset_that_names_files_of_this_computer_is_refused(tmp_path):
    """The card of a dataset can hold an absolute path, which the library resolves on the computer that reads it."""
    (tmp_path / "secret.txt").write_text("hunter2\n")
    builder = datasets.load_dataset_builder(
        "text", data_files=str(tmp_path / "secret.txt"), cache_dir=str(tmp_path / "cache")
    )
    with pytest.raises(HeadPruneError, match="names files outside its repository") as error:
        check_hub_files("evil/set", builder)
    assert str(tmp_path) not in str(error.value)
    builder.config.data_files = datasets.data_files.DataFilesDict({"train": ["hf://datasets/a/b@main/x.txt"]})
    check_hub_files("a/b", builder)
