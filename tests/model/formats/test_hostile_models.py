"""Model folders from strangers: each is refused in one sentence, quickly, in little memory, without touching other files."""

import json
import os
import resource
import shutil
import struct
import time
from functools import partial

import numpy as np
import peft
import pytest
import torch
from helpers.tiny_models import random_examples, tiny, tiny_tokenizer
from safetensors.torch import load_file, save_file

import headprune_core as hp
from headprune_core.model.formats import weight_checks

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`")  # peft uses the old name
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
load = partial(hp.PrunableModel.from_pretrained, device="cpu")


def edit(name, **changes):
    """Change values of a JSON file."""

    def change(folder):
        file = folder / name
        file.write_text(json.dumps((json.loads(file.read_text()) if file.exists() else {}) | changes))

    return change


config, tokenizer, generation = (
    partial(edit, f"{name}.json") for name in ("config", "tokenizer_config", "generation_config")
)


def text(name, content):
    """Write a file."""
    return lambda folder: (folder / name).write_text(content)


def pipe(name):
    """Put a pipe, which nobody writes to, in the place of a file."""

    def change(folder):
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name)

    return change


def sparse(name, size):
    """Make a file of a large size that takes no space."""

    def change(folder):
        with (folder / name).open("wb") as file:
            file.truncate(size)

    return change


def header(change=None, length=None, tail=b""):
    """Change the header of the weights, its stated length, or what follows."""

    def rewrite(folder):
        content = (folder / WEIGHTS).read_bytes()
        size = struct.unpack("<Q", content[:8])[0]
        entries, data = json.loads(content[8 : 8 + size]), content[8 + size :]
        text = entries if change is None else change(entries)
        text = text if isinstance(text, bytes) else json.dumps(text).encode()
        stated = len(text) if length is None else length
        (folder / WEIGHTS).write_bytes(struct.pack("<Q", stated) + text + data + tail)

    return rewrite


def entry(**changes):
    """Change the header entry of the first tensor."""

    def change(entries):
        name = next(name for name in entries if name != "__metadata__")
        return entries | {name: {k: v for k, v in (entries[name] | changes).items() if v is not None}}

    return header(change)


def index(weight_map, **more):
    """Put an index in the place of the weights."""

    def change(folder):
        os.rename(folder / WEIGHTS, folder / "part.safetensors")
        names = (
            dict.fromkeys(load_file(folder / "part.safetensors"), weight_map) if isinstance(weight_map, str) else weight_map
        )
        (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": names} | more))

    return change


def linked(target):
    def change(folder):
        index("link.safetensors")(folder)
        shutil.copy(folder / "part.safetensors", folder.parent / "outside.safetensors")
        (folder / "link.safetensors").symlink_to(folder.parent / target)

    return change


def stored(change):
    """Save changed weights."""

    def rewrite(folder):
        weights = load_file(folder / WEIGHTS)
        save_file({name: change(name, weight) for name, weight in weights.items()}, folder / WEIGHTS, {"format": "pt"})

    return rewrite


def second_shard(folder):
    index("part.safetensors")(folder)
    shutil.copy(folder / "part.safetensors", folder / "copy.safetensors")
    edit(INDEX, weight_map={"a": "part.safetensors", "b": "copy.safetensors"})(folder)


def nested(depth):
    return text("config.json", '{"model_type": "bert", "a": ' + "[" * depth + "]" * depth + "}")


def many_classes(folder):
    config(id2label={str(n): "a" for n in range(110_000)})(folder)


CONFIGS = {
    "layers": config(num_hidden_layers=10**9),
    "many layers": config(num_hidden_layers=100_000),
    "nested layers": config(text_config={"num_hidden_layers": 10**9}),
    "nested layers of an encoder": config(encoder={"model_type": "bert", "num_hidden_layers": 10**6}),
    "layers of qwen2": config(model_type="qwen2", num_hidden_layers=10**9),
    "no layers": config(num_hidden_layers=0),
    "negative layers": config(num_hidden_layers=-3),
    "float layers": config(num_hidden_layers=2.5),
    "NaN layers": text("config.json", '{"model_type": "bert", "num_hidden_layers": NaN}'),
    "infinite eps": config(layer_norm_eps=float("inf")),
    "tagged NaN": config(layer_norm_eps={"__float__": "NaN"}),
    "heads": config(num_attention_heads=10**6),
    "no heads": config(num_attention_heads=0),
    "heads that do not divide": config(num_attention_heads=5),
    "hidden size": config(hidden_size=10**9),
    "a hidden size of 10 million": config(hidden_size=10**7),
    "intermediate size": config(intermediate_size=10**8),
    "vocabulary": config(vocab_size=10**9),
    "a vocabulary of 10 million": config(vocab_size=10**7),
    "token types": config(type_vocab_size=10**7),
    "positions": config(max_position_embeddings=10**7),
    "experts": config(num_local_experts=10**6),
    "experts of all layers": config(num_hidden_layers=900, num_experts=2000),
    "labels": config(num_labels=10**9, id2label=None),
    "110,000 class names": many_classes,
    "classes with a gap": config(id2label={"0": "a", "2": "b", "3": "c"}),
    "classes as a list": config(id2label=["a", "b", "c"]),
    "a list of 10^6 numbers": config(numbers=list(range(10**6))),
    "many megabytes": sparse("config.json", 10**9),
    "deep nesting": nested(100),
    "endless nesting": nested(100_000),
    "a name twice": text("config.json", '{"model_type": "bert", "model_type": "gpt2"}'),
    "the last of many names twice": text("config.json", "{" + ", ".join(f'"{n}": 0' for n in [*range(10**5), 99_999]) + "}"),
    "a list": text("config.json", "[1, 2]"),
    "no JSON": text("config.json", "model_type: bert"),
    "no UTF-8": lambda folder: (folder / "config.json").write_bytes(b'{"a": "\xff\xfe"}'),
    "a pipe": pipe("config.json"),
    "own code": config(model_type="mine", auto_map={"AutoConfig": "evil.Config", "AutoModel": "evil.Model"}),
    "an unknown type": config(model_type="__class__"),
    "a type that is no text": config(model_type=["bert"]),
    "quantized": config(quantization_config={"quant_method": "fp8"}),
    "a backbone of the Hub": config(backbone="evil/model", use_pretrained_backbone=True),
    "pickled weights": config(transformers_weights="adapter_model.bin"),
    "weights elsewhere": config(transformers_weights="../outside.safetensors"),
    "an unknown activation": config(hidden_act="__import__"),
    "heads that were removed everywhere": config(pruned_heads={"0": [99]}),
    "an unknown architecture": config(architectures=["os.system"]),
}
HEADERS = {
    "an empty file": text(WEIGHTS, ""),
    "a header longer than the file": header(length=10**6),
    "a header of 2^63 bytes": header(length=2**63),
    "a shorter header": header(length=10),
    "no header": header(lambda entries: b"x" * 100),
    "a list as a header": header(lambda entries: []),
    "a name twice": header(lambda entries: json.dumps(entries).encode()[:-1] + b", " + json.dumps(entries).encode()[1:]),
    "endless nesting": header(lambda entries: b"[" * 100_000),
    "an unknown dtype": entry(dtype="F33"),
    "a dtype that is no text": entry(dtype=["F32"]),
    "a larger dtype": entry(dtype="F64"),
    "no offsets": entry(data_offsets=None),
    "three offsets": entry(data_offsets=[0, 4, 8]),
    "negative offsets": entry(data_offsets=[-8, 4]),
    "offsets beyond the file": entry(shape=[10**12], data_offsets=[0, 4 * 10**12]),
    "a float as a size": entry(shape=[3.0]),
    "a negative size": entry(shape=[-1, 4]),
    "sizes whose product overflows": entry(shape=[2**40, 2**40]),
    "a gap": header(lambda entries: dict(list(entries.items())[:1] + list(entries.items())[2:])),
    "an overlap": header(lambda entries: entries | {"more": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}),
    "bytes that follow": header(tail=b"more"),
    "a cut file": lambda folder: os.truncate(folder / WEIGHTS, (folder / WEIGHTS).stat().st_size - 100),
    "Git LFS": text(WEIGHTS, "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 100\n"),
    "a pickle": lambda folder: torch.save({"a": torch.zeros(2)}, folder / WEIGHTS),
    "a pipe": lambda folder: (pipe(WEIGHTS)(folder), text("other.safetensors", "")(folder)),
    "integers": stored(lambda name, weight: weight.to(torch.int32)),
    "the bits of floats as integers": stored(lambda name, weight: weight.view(torch.int32)),
    "eight-bit floats": stored(lambda name, weight: weight.to(torch.float8_e4m3fn)),
    "other shapes": stored(lambda name, weight: weight[:1].clone()),
    "no weight of the model": stored(lambda name, weight: weight.sum().reshape(1)),
    "a distributed checkpoint": lambda folder: shutil.copy(
        folder / WEIGHTS, folder / "shard-00000-model-00001-of-00001.safetensors"
    ),
}
INDICES = {
    "a pickle": index("p.bin"),
    "another folder": index("../outside.safetensors"),
    "an absolute path": index("/etc/model.safetensors"),
    "a subfolder": index("a/b.safetensors"),
    "a Windows path": index("a\\b.safetensors"),
    "a NUL": index("a\0.safetensors"),
    "a missing file": index("gone.safetensors"),
    "a link outside": linked("outside.safetensors"),
    "a link to nowhere": linked("gone.safetensors"),
    "a folder": lambda folder: (index("sub.safetensors")(folder), (folder / "sub.safetensors").mkdir()),
    "numbers": index({"a": 1}),
    "a list": index([]),
    "nothing": index({}),
    "no map": index(None),
    "metadata that is no object": index("part.safetensors", metadata=[1]),
    "many files": index({str(n): f"{n}.safetensors" for n in range(5000)}),
    "one tensor in two files": second_shard,
    "no JSON": lambda folder: (index("part.safetensors")(folder), text(INDEX, "{")(folder)),
    "many megabytes": lambda folder: (index("part.safetensors")(folder), sparse(INDEX, 10**9)(folder)),
}
SETTINGS = {
    "generation: no JSON": text("generation_config.json", "{"),
    "generation: NaN": text("generation_config.json", '{"temperature": NaN}'),
    "generation: many megabytes": sparse("generation_config.json", 10**9),
    "tokenizer: many megabytes": sparse("tokenizer.json", 10**9),
    "tokenizer: no JSON": text("tokenizer.json", "{"),
    "tokenizer: a pipe": pipe("tokenizer.json"),
    "tokenizer: a list": text("tokenizer_config.json", "[]"),
    "tokenizer: settings of many megabytes": sparse("tokenizer_config.json", 10**9),
    "tokenizer: a negative length": tokenizer(model_max_length=-5),
    "tokenizer: a length that is no number": tokenizer(model_max_length="x"),
    "two kinds of model": edit("adapter_config.json", base_model_name_or_path="evil/model", peft_type="LORA"),
}
HOSTILE = {
    f"{group}: {name}": change
    for group, cases in {"config": CONFIGS, "header": HEADERS, "index": INDICES, "settings": SETTINGS}.items()
    for name, change in cases.items()
}
# Maps and adapters start from another folder.
MAPS = {
    "no JSON": text("head_map.json", "{"),
    "a newer version": edit("head_map.json", version=99),
    "no rows": edit("head_map.json", rows={}),
    "rows as a list": edit("head_map.json", rows=[1]),
    "layers as floats": edit("head_map.json", layers=[0.5, 1, 2]),
    "layers that are missing": edit("head_map.json", layers=[0, 1, 7]),
    "an unknown task": edit("head_map.json", task="__class__"),
    "many megabytes": sparse("head_map.json", 10**9),
    "a pipe": lambda folder: pipe("head_map.json")(folder),
    "an adapter beside it": edit("adapter_config.json", base_model_name_or_path="evil/model"),
    "a larger model": config(hidden_size=2**14, intermediate_size=2**16),
    "other weights": stored(lambda name, weight: weight[:1].clone()),
}
ADAPTERS = {
    "no JSON": text("adapter_config.json", "{"),
    "a rank of 10^9": edit("adapter_config.json", r=10**9),
    "a rank of a pattern": edit("adapter_config.json", rank_pattern={"query": 10**9}),
    "a slow regular expression": edit("adapter_config.json", target_modules="(([a-z._0-9]+)+)+X"),
    "a slow pattern": edit("adapter_config.json", alpha_pattern={".*.*.*.*.*.*.*.*.*.*X": 1}),
    "repeated layers": edit("adapter_config.json", layer_replication=[[0, 10**9]]),
    "Megatron": edit("adapter_config.json", megatron_config={"a": 1}, megatron_core="os"),
    "no base model": edit("adapter_config.json", base_model_name_or_path=None),
    "a base model elsewhere": edit("adapter_config.json", base_model_name_or_path="../../etc"),
    "another type": edit("adapter_config.json", peft_type="PROMPT_TUNING"),
    "an unknown type": edit("adapter_config.json", peft_type="__class__"),
    "an unknown task": edit("adapter_config.json", task_type="EVIL"),
    "damaged weights": text("adapter_model.safetensors", "x" * 100),
    "no weights": lambda folder: (folder / "adapter_model.safetensors").unlink(),
    "many megabytes": sparse("adapter_config.json", 10**9),
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A valid model, a pruned model and an adapter, which each case copies and changes."""
    place = tmp_path_factory.mktemp("saved")
    model = hp.PrunableModel(tiny("bert"), tiny_tokenizer())
    model.save_pretrained(place / "model")
    kept = np.ones(model.grid.shape, bool)
    kept[0, :2] = False
    hp.prune_heads(model, kept).save_pretrained(place / "pruned")
    lora = peft.LoraConfig(task_type="SEQ_CLS", target_modules=["query"], r=2)
    adapted = peft.get_peft_model(tiny("bert"), lora)
    adapted.peft_config["default"].base_model_name_or_path = str(place / "model")
    adapted.save_pretrained(place / "adapter")
    return place


def check_refused(folder, monkeypatch):
    """Load a folder that must be refused, and check what that took."""
    monkeypatch.chdir(folder.parent)
    inside = sorted(folder.parent.rglob("*"))
    before, begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with pytest.raises(hp.HeadPruneError) as caught:
        load(folder).tokenizer("a")
    message = str(caught.value)
    assert time.monotonic() - begin < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 10**6  # in kB
    assert sorted(folder.parent.rglob("*")) == inside
    assert "\n" not in message
    assert "Traceback" not in message
    assert 30 < len(message) < 700
    assert any(words in message for words in ("; ", ": ", " must be ")), message  # what to do
    return message


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_folder_is_refused_in_a_sentence(saved, tmp_path, monkeypatch, case):
    folder = shutil.copytree(saved / "model", tmp_path / "model")
    HOSTILE[case](folder)
    check_refused(folder, monkeypatch)


@pytest.mark.parametrize("case", MAPS)
def test_a_hostile_folder_of_a_pruned_model_is_refused_in_a_sentence(saved, tmp_path, monkeypatch, case):
    folder = shutil.copytree(saved / "pruned", tmp_path / "pruned")
    MAPS[case](folder)
    check_refused(folder, monkeypatch)


@pytest.mark.parametrize("case", ADAPTERS)
def test_a_hostile_adapter_is_refused_in_a_sentence(saved, tmp_path, monkeypatch, case):
    folder = shutil.copytree(saved / "adapter", tmp_path / "adapter")
    ADAPTERS[case](folder)
    check_refused(folder, monkeypatch)


HARMLESS = {
    "code of a known type": config(
        auto_map={"AutoConfig": "evil.Config", "AutoModelForSequenceClassification": "evil.Model"}
    ),
    "kernels": config(attn_implementation="evil/kernel", experts_implementation="evil/kernel", use_kernels=True),
    "nested kernels": config(vision_config={"_attn_implementation": "evil/kernel", "auto_map": {}}),
    "code of the tokenizer": tokenizer(auto_map={"AutoTokenizer": ["evil.Tokenizer", None]}),
    "another configuration": config(configuration_files=["config.4.0.0.json"]),
    "patches": config(fusion_config={"patch_embeddings": True}),
    "pickles beside it": lambda folder: text("pytorch_model.bin.index.json", '{"weight_map": {"a": "../evil.bin"}}')(folder),
    "an index that is not used": text(INDEX, '{"weight_map": {"a": "p.bin"}}'),
    "a template": tokenizer(chat_template="{{ ''.__class__ }}"),
}


@pytest.mark.parametrize("case", HARMLESS)
def test_code_and_files_that_a_folder_names_are_ignored(saved, tmp_path, case):
    folder = shutil.copytree(saved / "model", tmp_path / "model")
    HARMLESS[case](folder)
    model = load(folder)
    assert not hasattr(model.model.config, "auto_map")
    kept = np.ones((1, *model.grid.shape), bool)
    expected = hp.evaluate_masks(hp.PrunableModel(tiny("bert")), random_examples(), kept)
    np.testing.assert_array_equal(hp.evaluate_masks(model, random_examples(), kept).logits, expected.logits)


def test_a_model_that_does_not_fit_in_memory_is_refused_with_both_figures(saved, monkeypatch):
    monkeypatch.setattr(weight_checks, "available_memory", lambda: 2**14)
    with pytest.raises(
        hp.HeadPruneError, match=r"needs 0\.0 GiB of memory as float32, but 0\.0 GiB are free; pass dtype='bfloat16'"
    ):
        load(saved / "model")
    with pytest.raises(hp.HeadPruneError, match=r"as bfloat16, but .* GiB are free; use a machine with more memory"):
        load(saved / "pruned", dtype="bfloat16")


def test_the_memory_that_a_model_needs_is_that_of_its_parameters(saved, monkeypatch):
    needed = sum(weight.numel() for weight in tiny("bert").parameters()) * 4
    monkeypatch.setattr(weight_checks, "available_memory", lambda: needed)
    load(saved / "model")
    monkeypatch.setattr(weight_checks, "available_memory", lambda: needed - 1)
    with pytest.raises(hp.HeadPruneError, match="of memory as float32"):
        load(saved / "model")
