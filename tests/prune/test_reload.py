"""Pruned models in folders: what comes back is what went out, and no broken folder is left or read."""

import json
import os
import resource
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as t
from helpers.tiny_models import GROUPED, REPRESENTATIVE, SMALL, examples_for, thorough, tiny, tiny_tokenizer
from safetensors.torch import load_file, save_file

import headprune_core as hp
from headprune_core.data.encoding import encode
from headprune_core.model.head_map import HEAD_MAP, HeadMap
from headprune_core.model.model_io import atomic_folder

load = partial(hp.PrunableModel.from_pretrained, device="cpu")
ROOT = Path(__file__).parents[2]


def some_mask(shape):
    mask = np.random.default_rng(1).random(shape) < 0.5
    mask[-1], mask[0, 1] = False, True
    return mask


def pruned_tiny(family, **more):
    model = hp.PrunableModel(tiny(family), **more)
    return hp.prune_heads(model, some_mask(model.grid.shape))


@torch.no_grad()
def logits(model, family):
    return model.logits(encode(model, examples_for(family, count=4)).batch(np.arange(4), model.device).inputs)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A pruned BERT with its tokenizer, saved; to be read only."""
    folder = tmp_path_factory.mktemp("saved") / "model"
    pruned_tiny("bert", tokenizer=tiny_tokenizer(model_max_length=20)).save_pretrained(folder)
    return folder


@pytest.fixture
def folder(tmp_path):
    """One of one's own, to break."""
    pruned_tiny("bert").save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def edit(folder, change):
    content = json.loads((folder / HEAD_MAP).read_text())
    change(content)
    (folder / HEAD_MAP).write_text(json.dumps(content))


@pytest.mark.slow
@pytest.mark.parametrize("family", REPRESENTATIVE)
def test_every_family_comes_back_the_same_to_the_last_bit(family, tmp_path):
    pruned = pruned_tiny(family)
    pruned.save_pretrained(tmp_path / "model")
    back = load(tmp_path / "model")
    assert type(back.model) is type(pruned.model)
    assert (back.task, back.tokenizer, back.cost) == (pruned.task, None, pruned.cost)
    # not to the last bit for gpt-oss alone: a config does not keep which kernel its mixture of experts used
    torch.testing.assert_close(logits(back, family), logits(pruned, family), rtol=0, atol=1e-5 if family == "gpt-oss" else 0)
    assert (back.grid.row_names, back.grid.row_labels, back.grid.layers) == (
        pruned.grid.row_names,
        pruned.grid.row_labels,
        pruned.grid.layers,
    )
    np.testing.assert_array_equal(back.grid.kept, pruned.grid.kept)
    for row, other in zip(back.grid.rows, pruned.grid.rows, strict=True):
        np.testing.assert_array_equal(row.present, other.present)
        for part in ("q", "k", "v", "out"):
            np.testing.assert_array_equal(getattr(row, part).features, getattr(other, part).features)
    assert {n: p.shape for n, p in back.model.named_parameters()} == {n: p.shape for n, p in pruned.model.named_parameters()}
    assert not any(p.requires_grad or p.is_meta for p in back.model.parameters())
    assert not any(b.is_meta for b in back.model.buffers())


@pytest.mark.slow
@pytest.mark.parametrize("family", REPRESENTATIVE)
def test_a_reloaded_model_is_pruned_saved_and_reloaded_again(family, tmp_path):
    pruned = pruned_tiny(family)
    pruned.save_pretrained(tmp_path / "first")
    mask = pruned.grid.kept
    mask[tuple(np.argwhere(mask)[-1])] = mask.sum() == 1  # the last head that is left, where it is not the only one
    again = hp.prune_heads(load(tmp_path / "first"), mask)
    again.save_pretrained(tmp_path / "second")
    back = load(tmp_path / "second")
    direct = hp.prune_heads(hp.PrunableModel(tiny(family)), mask)
    np.testing.assert_array_equal(back.grid.kept, mask)
    assert torch.allclose(logits(back, family), logits(direct, family), rtol=0, atol=1e-5)


def test_the_head_map_says_which_heads_are_left_and_whose_features_are_whose(tmp_path):
    model = hp.PrunableModel(tiny("llama"))
    mask = np.array([[0, 0, 1, 1], [0, 1, 1, 1], [0, 0, 0, 0]], bool)
    hp.prune_heads(model, mask).save_pretrained(tmp_path / "model")
    content = json.loads((tmp_path / "model" / HEAD_MAP).read_text())
    assert {name: content[name] for name in ("version", "task", "shape", "layers")} == {
        "version": 1,
        "task": "language",
        "shape": [3, 4],
        "layers": [0, 1, 2],
    }
    names = [f"model.layers.{i}.self_attn" for i in range(3)]
    assert list(content["rows"]) == names
    assert [content["rows"][name]["kept"] for name in names] == [[2, 3], [1, 2, 3], []]
    assert [content["rows"][name]["gated"] for name in names] == [[], [0], []]
    first = content["rows"][names[0]]
    assert (first["heads"], first["kind"]) == (4, "self")
    assert first["projections"]["q"] == {
        "module": f"{names[0]}.q_proj",
        "features": [[[0, 8]], [[8, 16]], [[16, 24]], [[24, 32]]],
    }
    assert first["projections"]["k"] == {"module": f"{names[0]}.k_proj", "features": [[[0, 8]], [[8, 16]]]}


def test_a_pruned_model_takes_less_room_and_its_tokenizer_comes_back(saved, tmp_path):
    hp.PrunableModel(tiny("bert")).save_pretrained(tmp_path / "whole")
    sizes = [(some / "model.safetensors").stat().st_size for some in (tmp_path / "whole", saved)]
    gone = hp.PrunableModel(tiny("bert")).grid.parameters_per_head[~some_mask((3, 4))].sum()
    assert sizes[0] - sizes[1] >= 4 * gone
    back = load(saved)
    assert back.tokenizer("w7 w8")["input_ids"] == [2, 7, 8, 3]
    assert back.name == str(saved)


def test_whole_weights_are_at_no_time_there(saved, monkeypatch):
    """Cutting happens while every parameter is on the meta device, where it takes no memory."""
    cut, devices = HeadMap.prune, []

    def looking(self, model):
        devices.extend(p.device.type for p in model.parameters())
        return cut(self, model)

    monkeypatch.setattr(HeadMap, "prune", looking)
    load(saved)
    assert set(devices) == {"meta"}


@pytest.mark.slow
def test_a_tokenizer_without_its_words_is_none(embedded_model, tmp_path):
    hp.prune_heads(embedded_model, np.arange(72).reshape(6, 12) % 2 == 0).save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "tokenizer.json").unlink()
    back = load(tmp_path / "model")
    assert back.tokenizer is None
    with pytest.raises(hp.HeadPruneError, match="has no tokenizer; pass one"):
        hp.evaluate_masks(back, hp.load_examples(split="evaluation", size=2), np.ones((1, 6, 12), bool))


@pytest.mark.slow
def test_a_tokenizer_of_bytes_needs_no_words(tmp_path):
    t.ByT5Tokenizer().save_pretrained(tmp_path / "bytes")
    pruned_tiny("t5").save_pretrained(tmp_path / "model")
    for file in (tmp_path / "bytes").iterdir():
        file.rename(tmp_path / "model" / file.name)
    assert load(tmp_path / "model").tokenizer("ab")["input_ids"] == [100, 101, 1]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_dtype(saved, dtype):
    assert load(saved, dtype=dtype).model.dtype == getattr(torch, dtype)


@thorough
@pytest.mark.slow
def test_a_new_process_gives_the_same_accuracy(embedded_model, tmp_path):
    mask = np.random.default_rng(0).random((6, 12)) < 0.5
    mask[2] = False
    pruned = hp.prune_heads(embedded_model, mask)
    pruned.save_pretrained(tmp_path / "model")
    code = (
        "import numpy as np, headprune_core as hp\n"
        f"model = hp.PrunableModel.from_pretrained({str(tmp_path / 'model')!r}, device='cpu')\n"
        "texts = hp.load_examples('embedded', split='evaluation', size=24)\n"
        "found = hp.evaluate_masks(model, texts, np.ones((1, *model.grid.shape), bool))\n"
        f"np.save({str(tmp_path / 'logits.npy')!r}, found.logits)\n"
    )
    subprocess.run([sys.executable, "-W", "error::UserWarning", "-c", code], cwd=ROOT, check=True, capture_output=True)
    texts = hp.load_examples("embedded", split="evaluation", size=24)
    masked = hp.evaluate_masks(embedded_model, texts, mask[None]).logits
    np.testing.assert_allclose(np.load(tmp_path / "logits.npy"), masked, atol=1e-5)


def other_rows(content):
    content["rows"] = {name.replace("layer.2", "layer.7"): row for name, row in content["rows"].items()}


def more_heads(content):
    content["rows"]["bert.encoder.layer.2.attention.self"]["kept"] = [0, 1]


def heads_that_are_not_there(content):
    content["rows"]["bert.encoder.layer.0.attention.self"]["kept"] = [0, 9]


def smaller_heads(content):
    for row in content["rows"].values():
        for part in row["projections"].values():
            part["features"] = [[[4 * head, 4 * head + 4]] for head in range(4)]


def of_first_row(**changes):
    """A change of what the head map says of its first row."""
    return lambda folder: edit(folder, lambda content: next(iter(content["rows"].values())).update(changes))


def first_query_of(features):
    """A change of the features of the first row's first query head."""

    def change(content):
        next(iter(content["rows"].values()))["projections"]["q"]["features"][0] = features

    return lambda folder: edit(folder, change)


def turned_round(content):
    content["rows"] = dict(reversed(content["rows"].items()))


def other_sizes(folder):
    """A configuration with twice as many heads of half the size: every weight has the shape it had."""
    file = folder / "config.json"
    file.write_text(file.read_text().replace('"num_attention_heads": 4', '"num_attention_heads": 8'))


BROKEN = {
    "another task than the model's": (
        lambda f: edit(f, lambda c: c.update(task="language")),
        r"does not match the model in the same folder \(task of BertFor.* must be language, got classification",
    ),
    "layers of no row": (lambda f: edit(f, lambda c: c.update(layers=[0, 1, 7])), r"layers \[0, 1, 7\] of 3 rows"),
    "no layers": (lambda f: edit(f, lambda c: c.update(layers=[])), r"layers \[\] of 3 rows"),
    "layers in another order": (
        lambda f: edit(f, lambda c: c.update(layers=[1, 0, 2])),
        r"do not match its HeadGrid \(call 0 belongs to another row\)",
    ),
    "a layer twice": (lambda f: edit(f, lambda c: c.update(layers=[0, 1, 1, 2])), "2 attention calls, expected 3"),
    "rows in another order": (lambda f: edit(f, turned_round), "call 0 belongs to another row"),
    "a kind of row that there is not": (of_first_row(kind="sideways"), "has the unknown kind 'sideways'"),
    "heads called gated that work": (of_first_row(kept=[], gated=[1, 2]), "lists zeroed heads of .*, but their output"),
    "features that are not there": (first_query_of([[0, 10**12]]), "features 0 to 1000000000000 of a layer that has 32"),
    "features before the first": (first_query_of([[-8, 0]]), "features -8 to 0 of a layer that has 32"),
    "a feature of two heads": (first_query_of([[8, 16]]), "two heads of .* share a feature"),
    "a configuration of smaller heads": (other_sizes, r"call 0 has . heads of size 4, expected 2 of size 8"),
    "no end of brackets": (lambda f: (f / HEAD_MAP).write_text("[" * 10**5), "is not valid JSON .*nested too deeply"),
    "a newer version": (lambda f: edit(f, lambda c: c.update(version=2)), "has version 2, .* at most version 1"),
    "no version": (lambda f: edit(f, lambda c: c.pop("version")), "is not a valid head map"),
    "no rows": (lambda f: edit(f, lambda c: c.update(rows={})), "is not a valid head map .*0 rows"),
    "no JSON": (lambda f: (f / HEAD_MAP).write_text("{half"), "is not valid JSON"),
    "another kind of JSON": (lambda f: (f / HEAD_MAP).write_text("[1]"), "must contain a JSON object"),
    "rows of another model": (lambda f: edit(f, other_rows), "head_map.json does not match the BertFor"),
    "more heads than there are weights": (lambda f: edit(f, more_heads), "match the weights in its folder: 7 of them"),
    "heads that are not there": (lambda f: edit(f, heads_that_are_not_there), r"has 4 heads and keeps \[0, 9\]"),
    "heads of another size": (
        lambda f: edit(f, smaller_heads),
        "has a layer with 32 features, but only 16 belong to its heads",
    ),
    "no head map": (lambda f: (f / HEAD_MAP).unlink(), "is missing weights for"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "contains no safetensors file"),
    "no config": (lambda f: (f / "config.json").unlink(), "contains no config.json"),
    "cut weights": (
        lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:5000]),
        "is not a valid safetensors file .*header",
    ),
    "weights of the whole model": (
        lambda f: tiny("bert").save_pretrained(f),
        "does not match the weights in its folder",
    ),
    "a weight too few": (
        lambda f: save_file(
            {n: w for n, w in load_file(f / "model.safetensors").items() if n != "classifier.bias"},
            f / "model.safetensors",
            metadata={"format": "pt"},
        ),
        r"does not match the weights in its folder: 1 of them .*\(classifier.bias\)",
    ),
    "another architecture": (
        lambda f: t.LlamaForCausalLM(t.LlamaConfig(**GROUPED)).save_pretrained(f),
        "head_map.json does not match the LlamaForCausalLM of config.json in the same folder",
    ),
    "another task": (
        lambda f: t.BertForMaskedLM(t.BertConfig(**SMALL)).save_pretrained(f),
        "is a masked language model, which HeadPrune does not support",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize(("breaking", "words"), BROKEN.values(), ids=BROKEN)
def test_a_broken_folder_is_refused_in_one_sentence(folder, breaking, words):
    breaking(folder)
    with pytest.raises(hp.HeadPruneError, match=words) as refusal:
        load(folder)
    assert str(folder) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_an_earlier_model_is_replaced_and_nothing_of_it_stays(folder):
    hp.PrunableModel(tiny("albert")).save_pretrained(folder)
    assert not (folder / HEAD_MAP).exists()
    assert load(folder).grid.shape == (1, 4)
    assert [file.name for file in folder.parent.iterdir()] == [folder.name]


@pytest.mark.slow
def test_a_pruned_model_has_a_card_and_a_picture_and_may_be_replaced(folder):
    names = {"README.md", "head_map.png", HEAD_MAP, "config.json", "model.safetensors"}
    assert {file.name for file in folder.iterdir()} == names
    assert "attention heads" in (folder / "README.md").read_text(encoding="utf-8")
    pruned_tiny("albert").save_pretrained(folder)
    assert {file.name for file in folder.iterdir()} == names
    hp.PrunableModel(tiny("bert")).save_pretrained(folder)  # whole: nothing of the other stays
    assert {file.name for file in folder.iterdir()} == {"config.json", "model.safetensors"}


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_model_that_headprune_did_not_write_is_replaced_only_if_that_is_asked_for(wrapped, tmp_path):
    """Transformers itself wrote it, or HeadPrune did, without a head map."""
    (hp.PrunableModel(tiny("bert")) if wrapped else tiny("bert")).save_pretrained(tmp_path / "model")
    before = (tmp_path / "model" / "model.safetensors").read_bytes()
    pruned = pruned_tiny("bert")
    with pytest.raises(hp.HeadPruneError, match=r"contains a model that HeadPrune did not write \(no head_map.json\)"):
        pruned.save_pretrained(tmp_path / "model")
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == before
    pruned.save_pretrained(tmp_path / "model", overwrite=True)
    assert (tmp_path / "model" / HEAD_MAP).exists()


@pytest.mark.slow
def test_the_folder_of_the_model_itself_is_replaced_only_if_that_is_asked_for(folder):
    model = load(folder)
    with pytest.raises(hp.HeadPruneError, match="is the folder that the model is read from; choose a new folder"):
        hp.prune_heads(model, model.grid.kept).save_pretrained(folder.parent / "." / "model")
    model.save_pretrained(folder, overwrite=True)
    np.testing.assert_array_equal(load(folder).grid.kept, model.grid.kept)


def test_overwriting_does_not_extend_to_what_somebody_put_beside_a_model(folder):
    (folder / "rows.csv").write_text("mine")
    with pytest.raises(hp.HeadPruneError, match="contains other files"):
        pruned_tiny("bert").save_pretrained(folder, overwrite=True)
    assert (folder / "rows.csv").read_text() == "mine"


def test_a_head_map_without_what_others_need_is_read_all_the_same(folder):
    edit(folder, lambda content: content.pop("plain"))
    assert load(folder).grid.shape == (3, 4)


def test_a_mask_that_keeps_all_saves_an_ordinary_model(tmp_path):
    model = hp.PrunableModel(tiny("bert"))
    hp.prune_heads(model, np.ones((3, 4), bool)).save_pretrained(tmp_path / "model")
    assert not (tmp_path / "model" / HEAD_MAP).exists()
    assert torch.equal(logits(load(tmp_path / "model"), "bert"), logits(model, "bert"))


@pytest.mark.parametrize("files", [["thesis.tex"], ["config.json", "thesis.tex"], ["notes.txt"]])
def test_a_folder_with_other_files_is_left_alone(files, tmp_path):
    for name in files:
        (tmp_path / name).write_text("{}")
    with pytest.raises(hp.HeadPruneError, match=f"contains other files \\({files[-1]}\\); expected a new or empty folder"):
        pruned_tiny("bert").save_pretrained(tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(files)


@pytest.mark.parametrize("mine", ["notes.txt", "figure.png", "draft.md", "data/rows.csv", "mask.json", "a.safetensors"])
def test_what_somebody_put_beside_a_model_is_left_alone(mine, folder):
    (folder / mine).parent.mkdir(exist_ok=True)
    (folder / mine).write_text("mine")
    with pytest.raises(hp.HeadPruneError, match="contains other files"):
        pruned_tiny("bert").save_pretrained(folder)
    assert (folder / mine).read_text() == "mine"


def test_a_folder_of_another_kind_is_no_model_for_all_its_json(tmp_path):
    for name in ("config.json", "package.json", "README.md"):
        (tmp_path / name).write_text("{}")
    with pytest.raises(hp.HeadPruneError, match=r"contains other files \(package.json\)"):
        pruned_tiny("bert").save_pretrained(tmp_path)
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.slow
def test_a_model_with_sentencepiece_files_may_be_replaced(folder):
    (folder / "source.spm").write_text("")  # as Marian's tokenizer calls them
    pruned_tiny("bert").save_pretrained(folder)
    assert not (folder / "source.spm").exists()


def test_a_link_in_the_folders_place_is_left_alone(folder):
    link = folder.parent / "link"
    link.symlink_to(folder)
    with pytest.raises(hp.HeadPruneError, match=f"link is a link to {folder}; expected a new or empty folder"):
        pruned_tiny("bert").save_pretrained(link)
    assert link.is_symlink()
    assert load(link).grid.shape == (3, 4)


@pytest.mark.parametrize("place", [".", "..", "../x/.."])
def test_the_folder_that_this_runs_in_is_not_taken_away(place, tmp_path, monkeypatch):
    (tmp_path / "x").mkdir()
    monkeypatch.chdir(tmp_path / "x")
    with pytest.raises(hp.HeadPruneError, match=r"is the working directory or one of its parents; .* choose a subfolder"):
        pruned_tiny("bert").save_pretrained(place)
    assert [file.name for file in tmp_path.rglob("*")] == ["x"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["with spaces", "ä ç 漢字 'quoted\"", "n" * 255, "~nobody-of-that-name/x", "[a-z]*.json"])
def test_folders_of_any_name(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pruned_tiny("bert").save_pretrained(name)
    assert load(name).grid.shape == (3, 4)
    assert not [file for file in tmp_path.iterdir() if file.name.startswith(".")]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("n" * 300, r"cannot read .* expected a new or empty folder"),
        ("a\0b", r"a path must not contain a null character, got '.*a\\x00b'"),
    ],
)
def test_a_name_that_no_folder_can_have(name, words, tmp_path):
    with pytest.raises(hp.HeadPruneError, match=words):
        pruned_tiny("bert").save_pretrained(tmp_path / name)
    with pytest.raises(hp.HeadPruneError, match="folder not found"):
        load(tmp_path / name)


@pytest.mark.parametrize("before", [False, True])
def test_of_two_that_write_to_one_folder_at_once_the_last_stays(before, tmp_path, monkeypatch):
    """The other one is done between the two renames, when the name is nobody's."""
    rename, names = os.replace, ["theirs"]

    def write(name):
        with atomic_folder(tmp_path / "model") as part:
            for file in ("config.json", "model.safetensors", HEAD_MAP):
                (part / file).write_text(name)

    def overtaken(source, target):
        if Path(source).name == "new" and names:
            write(names.pop())
        rename(source, target)

    if before:
        write("earlier")
    monkeypatch.setattr(os, "replace", overtaken)
    write("mine")
    assert names == []
    assert {file.read_text() for file in (tmp_path / "model").iterdir()} == {"mine"}
    assert [file.name for file in tmp_path.iterdir()] == ["model"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", [OSError, KeyboardInterrupt])
def test_an_earlier_model_comes_back_where_the_new_one_cannot_get_its_name(kind, folder, monkeypatch):
    """Between the two renames the name is nobody's; that is when it is broken off here."""
    rename = os.replace

    def failing(source, target):
        if Path(source).name == "new":
            raise kind
        rename(source, target)

    pruned = pruned_tiny("albert")
    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(KeyboardInterrupt if kind is KeyboardInterrupt else hp.HeadPruneError):
        pruned.save_pretrained(folder)
    assert load(folder).grid.shape == (3, 4)
    assert list(folder.parent.iterdir()) == [folder]


def test_a_file_in_the_folders_place_is_left_alone(tmp_path):
    (tmp_path / "model").write_text("mine")
    with pytest.raises(hp.HeadPruneError, match="model is not a folder; expected a new or empty folder"):
        pruned_tiny("bert").save_pretrained(tmp_path / "model")
    assert (tmp_path / "model").read_text() == "mine"


@pytest.mark.parametrize("before", [False, True])
def test_no_room_on_the_disk_leaves_nothing_broken(before, tmp_path):
    """While this process may write no file of more than 20 kB, as a full disk would let it."""
    if before:
        pruned_tiny("albert").save_pretrained(tmp_path / "model")
    pruned, limits = pruned_tiny("bert"), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(hp.HeadPruneError, match=r"cannot write to .* free disk space or choose another") as refusal:
            pruned.save_pretrained(tmp_path / "model")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert str(tmp_path / "model") in str(refusal.value)
    assert [file.name for file in tmp_path.iterdir()] == (["model"] if before else [])
    if before:
        assert load(tmp_path / "model").grid.shape == (1, 4)


def test_what_is_cut_short_while_writing_leaves_nothing(tmp_path):
    class Stubborn:
        def save_pretrained(self, folder):
            raise KeyboardInterrupt

    pruned = pruned_tiny("bert", tokenizer=Stubborn())
    with pytest.raises(KeyboardInterrupt):
        pruned.save_pretrained(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []
