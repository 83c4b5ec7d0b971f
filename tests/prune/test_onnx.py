"""ONNX files of pruned models, run by ONNX Runtime here, against plain models and PyTorch; and what is refused."""

import importlib.util
import re
import resource
import tomllib
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import psutil
import pytest
import torch
import transformers as t
from helpers.tiny_models import (
    EVERYTHING,
    FAMILIES,
    GROUPED,
    SMALL,
    columns,
    examples_for,
    randomized,
    short,
    thorough,
    tiny,
    tiny_tokenizer,
)

import headprune_core as hp
from headprune_core.data.encoding import encode
from headprune_core.output_files import atomic_file
from headprune_core.prune import onnx_export, onnx_graph
from headprune_core.prune.onnx_export import INSTALL, OnnxExport, export_onnx, has_onnx
from headprune_core.prune.onnx_graph import graph_inputs, write_graph

ROOT = Path(__file__).resolve().parents[2]
WORDS = ("input_ids", "attention_mask")
PAIRS = (*WORDS, "token_type_ids")
READS = dict.fromkeys(FAMILIES, WORDS)  # of every family, what its graph reads; none is refused
READS |= dict.fromkeys(("bert", "roberta", "xlm-roberta", "camembert", "electra", "albert"), PAIRS)
READS |= dict.fromkeys(("t5", "mt5", "bart"), (*WORDS, "decoder_input_ids"))
READS |= dict.fromkeys(("vit", "deit"), ("pixel_values",))
GRAPHS = ("bert", "gpt-oss", "t5", "vit")  # pairs; grouped queries, windows and sinks; encoder and decoder; pixels


def with_an_empty_row(shape):
    mask = np.random.default_rng(1).random(shape) < 0.5
    mask[-1], mask[0, 1] = False, True
    return mask


def opened(file):
    return onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])


def asked(session, inputs):
    """The logits of an ONNX Runtime session."""
    names = [one.name for one in session.get_inputs()]
    return torch.from_numpy(session.run(["logits"], {name: inputs[name].numpy() for name in names})[0])


def real(logits, batch):
    """Those at real positions; a padding token may have nothing to look at, and then each attention has its own way."""
    places = batch.real if batch.decoder_real is None else batch.decoder_real
    return logits[places] if logits.dim() == 3 else logits


@torch.no_grad()
def plain(family, mask, batch):
    """Logits of the plain model, the output columns of removed heads set to zero: nothing of ours is in it."""
    model = short(family)
    for row, (*_, out) in zip(mask, FAMILIES[family].projections(model), strict=True):
        columns(out).unflatten(1, (mask.shape[1], -1))[:, ~row] = 0
    return model(**batch.inputs).logits


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the exporter's own, which users never see: it has a process of its own there
@pytest.mark.parametrize("family", FAMILIES if EVERYTHING else GRAPHS)
def test_every_family_at_sizes_that_were_not_traced(family, tmp_path):
    """Loaded from a folder, as it is traced for users, and with a row that has no head."""
    model = hp.PrunableModel(short(family))
    mask = with_an_empty_row(model.grid.shape)
    encoded = encode(model, examples_for(family, count=3, longest=29))
    hp.prune_heads(model, mask).save_pretrained(tmp_path / "pruned")
    pruned = hp.PrunableModel.from_pretrained(tmp_path / "pruned", device="cpu")
    write_graph(pruned, tmp_path / "model.onnx")
    assert onnx_export._verify(pruned, tmp_path / "model.onnx", lambda: None) < 5e-5
    session = opened(tmp_path / "model.onnx")
    assert tuple(one.name for one in session.get_inputs()) == READS[family]
    assert {one.shape[0] for one in (*session.get_inputs(), *session.get_outputs())} == {"examples"}
    for examples in ([0, 1, 2], [2], [0]):
        batch = encoded.batch(np.array(examples), model.device)
        if "token_type_ids" in READS[family]:
            batch.inputs["token_type_ids"] = (batch.inputs["input_ids"] > 40).long()
        expected = plain(family, mask, batch)
        found = asked(session, batch.inputs)
        torch.testing.assert_close(real(found, batch), real(expected, batch), rtol=0, atol=5e-5)


@pytest.fixture(scope="module")
def half(embedded_model, embedded_scores, tmp_path_factory):
    """The embedded model without the half of its heads of least HIS, and without any in one row, from a folder."""
    mask, folder = hp.prune_mask(embedded_scores.his, 0.5), tmp_path_factory.mktemp("half")
    mask[2] = False
    hp.prune_heads(embedded_model, mask).save_pretrained(folder)
    return hp.PrunableModel.from_pretrained(folder, device="cpu")


@pytest.fixture(scope="module")
def exported(half, tmp_path_factory):
    """Its file, and what progress said and saw while it was written."""
    inputs = encode(half, hp.load_examples("embedded", size=3)).batch(np.arange(3), half.device).inputs
    notes, answers = [], []

    def progress(done, total, note):
        notes.append((done, total, note))
        if notes.count(notes[-1]) <= 5:  # more would take the processor from the tracing process
            with torch.no_grad():
                answers.append(half.logits(inputs))

    found = export_onnx(half, tmp_path_factory.mktemp("onnx") / "new" / "half.onnx", progress=progress)
    return found, notes, answers


@pytest.mark.slow
def test_the_file_of_the_embedded_model(half, exported):
    """In one test, so that one worker process exports it."""
    answers_on_real_tweets(half, exported)
    what_is_told_of_it(half, exported)
    nothing_of_this_machine_is_in_it(exported)
    the_shared_model_answered_the_same_meanwhile(exported)


def answers_on_real_tweets(half, exported):
    texts = hp.load_examples("embedded", split="evaluation", size=64)
    encoded, session = encode(half, texts), opened(exported[0].file)
    found, expected = [], []
    for start in range(0, 64, 16):
        batch = encoded.batch(np.arange(start, start + 16), half.device)
        assert not batch.real.all()
        found.append(asked(session, batch.inputs))
        with torch.no_grad():
            expected.append(half.model(**batch.inputs).logits)
    found, expected = torch.cat(found), torch.cat(expected)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
    assert torch.equal(found.argmax(-1), expected.argmax(-1))
    assert len(set(found.argmax(-1).tolist())) == 3


def what_is_told_of_it(half, exported):
    found = exported[0]
    assert isinstance(found, OnnxExport)
    assert [file.name for file in found.file.parent.iterdir()] == ["half.onnx"]
    assert found.size == found.file.stat().st_size
    weights = sum(4 * p.numel() for p in half.model.parameters())
    assert weights < found.size < 1.02 * weights
    assert (found.inputs, found.outputs, found.opset) == (PAIRS, ("logits",), 18)
    assert 0 < found.difference < 1e-4
    graph = onnx.load(found.file)
    assert [(one.domain, one.version) for one in graph.opset_import] == [("", 18)]
    onnx.checker.check_model(graph, full_check=True)


def nothing_of_this_machine_is_in_it(exported):
    content = exported[0].file.read_bytes()
    for word in (str(ROOT), str(Path(t.__file__).parent), str(exported[0].file.parent), "stack_trace"):
        assert word.encode() not in content


def the_shared_model_answered_the_same_meanwhile(exported):
    _, notes, answers = exported
    assert list(dict.fromkeys(notes)) == [
        (0, 3, "Writing the weights"),
        (1, 3, "Tracing the model"),
        (2, 3, "Comparing ONNX Runtime with PyTorch"),
        (3, 3, "Exported"),
    ]
    assert notes.count((1, 3, "Tracing the model")) > 3
    assert all(torch.equal(one, answers[0]) for one in answers)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_the_graph_of_every_family_reads(family):
    assert graph_inputs(hp.PrunableModel(tiny(family))) == READS[family]


def test_what_a_tokenizer_does_not_give_is_not_asked_for():
    for names in (WORDS, PAIRS):
        tokenizer = tiny_tokenizer(model_input_names=list(names))
        assert graph_inputs(hp.PrunableModel(tiny("bert"), tokenizer)) == names


class Louder(t.BertForSequenceClassification):
    """Answers otherwise than the library's class, which is all that a saved model remembers."""

    def forward(self, *args, **kwargs):
        said = super().forward(*args, **kwargs)
        said.logits = said.logits * 1.01
        return said


Louder.__name__ = "BertForSequenceClassification"


ONE_LAYER = {"num_hidden_layers": 1}


def one_layer_of_the_library(kind=t.BertForSequenceClassification):
    return randomized(lambda: kind(t.BertConfig(**SMALL | ONE_LAYER, num_labels=3)))


def one_layer(kind=t.BertForSequenceClassification):
    return hp.PrunableModel(one_layer_of_the_library(kind))


@pytest.fixture(scope="module")
def apart(tmp_path_factory):
    """The graph of a model of one layer, whose weights are too large for one file and lie beside it."""
    folder, model = tmp_path_factory.mktemp("apart"), one_layer()
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings(action="ignore"):
        patch.setattr(onnx_graph, "MAX_BYTES", 1000)
        with atomic_file(folder / "model.onnx") as new:
            write_graph(model, new)
            (new.parent / "notes.txt").write_text("not to be kept")
    return folder / "model.onnx", model


@pytest.mark.slow
def test_weights_too_large_for_one_file_lie_beside_it(apart):
    file, model = apart
    assert sorted(file.name for file in file.parent.iterdir()) == ["model.onnx", "model.onnx.data"]
    batch = encode(model, examples_for("bert", count=3)).batch(np.arange(3), model.device)
    batch.inputs["token_type_ids"] = torch.zeros_like(batch.inputs["input_ids"])
    with torch.no_grad():
        expected = one_layer_of_the_library()(**batch.inputs).logits
    torch.testing.assert_close(asked(opened(file), batch.inputs), expected, rtol=0, atol=5e-5)


@pytest.mark.slow
def test_a_file_that_answers_otherwise_is_refused(apart):
    with pytest.raises(hp.HeadPruneError, match=r"the logits of ONNX Runtime and PyTorch differ by 0\.\d+ .*"):
        onnx_export._verify(one_layer(Louder), apart[0], lambda: None)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_graph_with_a_size_that_is_not_free_is_refused(monkeypatch, tmp_path):
    model = one_layer()
    monkeypatch.setattr(onnx_graph, "_free", lambda name: {1: "tokens"})
    write_graph(model, tmp_path / "model.onnx")
    with pytest.raises(hp.HeadPruneError, match=r"does not run on inputs of size 1 x 5 \(.*no file was written"):
        onnx_export._verify(model, tmp_path / "model.onnx", lambda: None)


@pytest.mark.slow
@thorough
def test_the_file_of_a_refused_export_is_removed_and_the_earlier_one_stays(tmp_path):
    (tmp_path / "model.onnx").write_text("earlier")
    model = one_layer(Louder)
    with pytest.raises(hp.HeadPruneError, match=r"the logits of ONNX Runtime and PyTorch differ by 0\.\d+ .*"):
        export_onnx(model, tmp_path / "model.onnx")
    assert [file.read_text() for file in tmp_path.iterdir()] == ["earlier"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_model_that_makes_much_of_rounding_is_not_refused_for_it(tmp_path):
    """Features that differ in their last digits alone, of which the first norm makes all."""
    model = one_layer_of_the_library()
    with torch.no_grad():
        for table in ("word", "position", "token_type"):
            getattr(model.bert.embeddings, f"{table}_embeddings").weight.mul_(1e-2).add_(1)
    model = hp.PrunableModel(model)
    write_graph(model, tmp_path / "model.onnx")
    assert onnx_export._verify(model, tmp_path / "model.onnx", lambda: None) > 2e-4


@pytest.mark.slow
def test_a_model_that_cannot_be_traced_is_refused_by_name_and_the_earlier_file_stays(tmp_path):
    (tmp_path / "model.onnx").write_text("earlier")
    rope = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10_000.0}  # goes by the longest position that it meets
    model = hp.PrunableModel(
        randomized(lambda: t.LlamaForCausalLM(t.LlamaConfig(**GROUPED | ONE_LAYER, rope_parameters=rope)))
    )
    with pytest.raises(hp.HeadPruneError, match=r"LlamaForCausalLM cannot be traced as an ONNX graph \(.*data") as refusal:
        export_onnx(model, tmp_path / "model.onnx")
    assert "\n" not in str(refusal.value)
    assert [file.read_text() for file in tmp_path.iterdir()] == ["earlier"]


def test_cancel_ends_the_tracing_process_and_leaves_nothing(tmp_path):
    running, before = [], set(psutil.Process().children())  # other tests' servers among them

    def progress(done, total, note):
        started = set(psutil.Process().children()) - before
        if done == 1 and started:
            running.extend(started)
            raise hp.Cancelled("stop")

    with pytest.raises(hp.Cancelled):
        export_onnx(hp.PrunableModel(tiny("bert")), tmp_path / "model.onnx", progress=progress)
    assert len(running) == 1
    assert not running[0].is_running()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
# the weights do not fit; they do, and the graph does not
@pytest.mark.parametrize("spare", [-10_000, pytest.param(10_000, marks=thorough)])
def test_no_room_on_the_disk_leaves_nothing(spare, tmp_path, tmp_path_factory):
    """While this process, and those that it starts, may write no longer file, as a full disk would let them."""
    model, limits = hp.PrunableModel(tiny("bert")), resource.getrlimit(resource.RLIMIT_FSIZE)
    saved = tmp_path_factory.mktemp("saved")
    model.save_pretrained(saved)
    weights = (saved / "model.safetensors").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (weights + spare, limits[1]))
    try:
        with pytest.raises(hp.HeadPruneError, match=r"to .*/model.onnx \(.*[Tt]oo large.*\); free disk space") as refusal:
            export_onnx(model, tmp_path / "model.onnx")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert str(tmp_path / "model.onnx") in str(refusal.value)
    assert list(tmp_path.iterdir()) == []


def on_meta():
    with torch.device("meta"):
        return hp.PrunableModel(FAMILIES["bert"].build())


@pytest.mark.parametrize(
    ("build", "name", "words"),
    [
        (on_meta, "model.onnx", "on the meta device and has no weights"),
        (
            lambda: hp.PrunableModel(tiny("bert").to(torch.bfloat16)),
            "model.onnx",
            "must be in float32 for ONNX export, got bfloat16",
        ),
        (lambda: hp.PrunableModel(tiny("bert").double()), "model.onnx", "got float64"),
        (lambda: hp.PrunableModel(tiny("bert")), "thesis.tex", r"must end in \.onnx, got 'thesis.tex'"),
        (
            lambda: hp.PrunableModel(tiny("bert")),
            "folder.onnx",
            "folder.onnx is a folder, not a plain file; choose another file name",
        ),
    ],
)
def test_what_cannot_be_exported_is_refused_before_anything_is_written(build, name, words, tmp_path):
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(hp.HeadPruneError, match=words):
        export_onnx(build(), tmp_path / name)
    assert [file.name for file in tmp_path.iterdir()] == ["folder.onnx"]


@pytest.mark.parametrize("missing", onnx_export.PACKAGES)
def test_what_is_not_installed_is_named_with_the_line_that_installs_it(monkeypatch, missing, tmp_path):
    assert has_onnx()
    find, model = importlib.util.find_spec, hp.PrunableModel(tiny("bert"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else find(name))
    assert not has_onnx()
    with pytest.raises(hp.HeadPruneError, match=f"needs {missing}, which is not installed; run: {re.escape(INSTALL)}"):
        export_onnx(model, tmp_path / "model.onnx")


def test_the_install_line_names_an_extra_whose_packages_are_pinned_for_tests():
    extra = re.search(r"\[(\w+)\]", INSTALL)[1]
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"][extra]
    assert {re.match(r"[\w-]+", line)[0] for line in declared} == set(onnx_export.PACKAGES)
    file = f"requirements-{extra}.txt"
    pins = [line for line in (ROOT / file).read_text().splitlines() if line and not line.startswith("#")]
    assert {pin.split("==")[0] for pin in pins} == set(onnx_export.PACKAGES)
    assert all(re.fullmatch(r"[\w-]+==[\d.]+", pin) for pin in pins)
    assert f"-r {file}" in (ROOT / "requirements-dev.txt").read_text().splitlines()
