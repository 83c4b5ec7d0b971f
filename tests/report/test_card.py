"""The model card: its numbers are the measured ones, its code reproduces them, and user text cannot break it."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from helpers.tiny_models import FAMILIES, examples_for, tiny, tiny_tokenizer
from huggingface_hub import ModelCard

import headprune_core as hp
from headprune_core.measure.random_baseline import RandomBaseline
from headprune_core.prune.recovery import Recovery
from headprune_core.report.card import model_card
from headprune_core.report.card_text import escaped, model_title, references
from headprune_core.report.pruning_record import PruningRecord, share
from headprune_core.report.standalone_loader import standalone_code

ROOT = Path(__file__).parents[2]
SIZE = 96


@pytest.fixture(scope="module")
def pruned(embedded_model, embedded_scores):
    """HIS at 50% sparsity, and a row without heads."""
    mask = hp.prune_mask(embedded_scores.his, 0.5)
    mask[2] = False
    return hp.prune_heads(embedded_model, mask)


@pytest.fixture(scope="module")
def record(embedded_model, embedded_scores, pruned):
    texts = hp.load_examples("embedded", split="evaluation", size=SIZE)
    return PruningRecord(
        "embedded",
        "the heads of lowest HIS, and all of layer 2",
        criterion="HIS",
        sparsity=0.5,
        calibration_data="32 calibration tweets",
        evaluation_data=f"{SIZE} evaluation tweets",
        evaluation_source={"source": "embedded", "split": "evaluation", "size": SIZE},
        settings=embedded_scores.settings,
        verification=hp.verify_pruning(embedded_model, pruned, texts),
        random_baseline=RandomBaseline("accuracy", 0.78, np.array([0.5, 0.6])),
    )


@pytest.fixture(scope="module")
def folder(pruned, record, tmp_path_factory):
    place = tmp_path_factory.mktemp("card") / "model"
    pruned.save_pretrained(place, record=record)
    return place


def card_of(folder):
    return (folder / "README.md").read_text(encoding="utf-8")


def blocks(card):
    """The Python of a card, block by block."""
    return re.findall(r"^```python\n(.*?)^```$", card, re.M | re.S)


def front(card):
    return yaml.safe_load(re.match(r"---\n(.*?)\n---\n", card, re.S).group(1))


def told(card, name):
    """A row of the card's accuracy table as numbers: value, low, high, n."""
    line = next(line for line in card.splitlines() if line.startswith(f"| {name} |"))
    return [float(number) for number in re.findall(r"[\d.]+", line.removeprefix(f"| {name} |"))]


@pytest.mark.slow
def test_what_it_tells_is_what_was_measured(folder, record, pruned, embedded_model):
    card = card_of(folder)
    for name, found in (("Unpruned", record.verification.unpruned), ("Pruned", record.verification.pruned)):
        expected = share(found)
        percent = [100 * value for value in (expected.value, expected.low, expected.high)]
        np.testing.assert_allclose(told(card, name), [*percent, SIZE], atol=0.051)
    right = record.verification.pruned.right[0].astype(bool), record.verification.unpruned.right[0].astype(bool)
    gained, lost = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    assert f"{gained} examples correct only after, {lost} only before" in card
    assert f"{100 * (gained - lost) / SIZE:+.1f} pp (95% CI" in card
    parameters = [sum(p.numel() for p in model.model.parameters()) for model in (embedded_model, pruned)]
    assert f"| Parameters | {parameters[0]:,} | {parameters[1]:,} |" in card
    operations = [f"{hp.flops_per_token(model, 128):,.0f}" for model in (embedded_model, pruned)]
    assert f"| FLOPs per token (sequence length 128) | {operations[0]} | {operations[1]} |" in card
    assert f"on {SIZE} evaluation tweets." in card
    assert record.random_baseline.summary in card
    assert "Layers without heads: 2." in card
    assert "his reduction example" in card.replace("\\_", "_")
    assert standalone_code(pruned) in card
    assert "Sixteen Heads" in card
    assert "2510.13832" not in card


def test_the_map_in_letters_is_the_mask(folder, pruned):
    lines = re.search(r"^```text\n(.*?)\n```$", card_of(folder), re.M | re.S).group(1).splitlines()
    found = [[sign == "■" for sign in line.split()[1:]] for line in lines]
    np.testing.assert_array_equal(found, pruned.grid.kept)
    assert [line.split()[0] for line in lines] == list(pruned.grid.row_labels)
    assert (folder / "head_map.png").read_bytes().startswith(b"\x89PNG")
    assert "](head_map.png)" in card_of(folder)


@pytest.mark.slow
def test_the_front_matter_is_the_hubs(folder, pruned, record):
    found = front(card_of(folder))
    tags = ["pruned", "attention-head-pruning", "headprune"]
    known = {"library_name": "transformers", "pipeline_tag": "text-classification", "tags": tags}
    assert found == known | {"metrics": ["accuracy"]}  # the built-in dataset is not on the Hub
    assert front(model_card(pruned)) == known
    for source in ("google/bert_uncased_L-2_H-128_A-2", "gpt2", "1e3"):
        assert front(model_card(pruned, replace(record, source=source)))["base_model"] == source
    for source in ("/home/me/models/mine", "./mine", "smollm2", "my model", str(folder)):
        card = model_card(pruned, replace(record, source=source))
        assert "base_model" not in front(card)
        assert "/home/me" not in card
        assert str(folder.parent) not in card


def test_accuracy_on_a_data_set_of_the_hub_is_in_the_model_index_as_the_hubs_library_reads_it(pruned, record):
    told = {"source": "stanfordnlp/sst2", "subset": "plain", "split": "validation", "size": SIZE}
    card = ModelCard(model_card(pruned, replace(record, source="google/bert_uncased_L-2_H-128_A-2", evaluation_source=told)))
    (result,) = card.data.eval_results
    assert (result.task_type, result.metric_type) == ("text-classification", "accuracy")
    assert (result.dataset_type, result.dataset_config, result.dataset_split) == ("stanfordnlp/sst2", "plain", "validation")
    assert result.metric_value == pytest.approx(share(record.verification.pruned).value, abs=5e-5)
    assert card.data.model_name == "google/bert_uncased_L-2_H-128_A-2, pruned"
    assert card.data.datasets == ["stanfordnlp/sst2"]
    for own in ({}, {"source": "secret.csv"}, {"source": "embedded"}, {"source": "/home/me/secret"}):
        assert "model-index" not in front(model_card(pruned, replace(record, evaluation_source=own)))
    evil = model_card(pruned, replace(record, source=EVIL, evaluation_source=told))
    assert "javascript:1" in front(evil)["model-index"][0]["name"]


def test_the_first_lines_tell_a_stranger_what_it_is(pruned, record):
    summary = model_card(pruned, record).split("\n\n")[2]
    assert summary.startswith("Pruned version of MiniLM-L6 (built-in, tweet sentiment): ")
    assert summary.endswith("The base model ships with HeadPrune: MiniLM-L6 fine-tuned for English tweet sentiment.")
    assert "- Classes (3): negative, neutral, positive" in model_card(pruned, record)
    recovery = Recovery(
        40, 60, 300, 8, "teacher", 1e-4, 12.4, np.zeros(40), record.verification.pruned, record.verification.unpruned
    )
    tuned = model_card(pruned, replace(record, source="gpt2", recovery=recovery))
    assert "fewer parameters, then fine-tuned for 40 steps. Accuracy: " in tuned
    assert "ships with HeadPrune" not in tuned
    assert f"Random baseline (before fine-tuning): {record.random_baseline.summary}" in tuned


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_a_card_that_reads_well_without_a_record(family):
    model = hp.PrunableModel(tiny(family), name="mine")
    mask = np.random.default_rng(1).random(model.grid.shape) < 0.5
    mask[0, 1] = True
    card = model_card(hp.prune_heads(model, mask))
    pipelines = {"language": "text-generation", "translation": "translation", "classification": "text-classification"}
    assert front(card)["pipeline_tag"] == ("image-classification" if model.reads_images else pipelines[model.task])
    assert f"Pruned version of mine: {(~mask).sum()} of {mask.size} attention heads removed" in card
    headings = re.findall(r"^## (.*)$", card, re.M)
    assert headings == ["Model details", "Model size", "How to use", "Upload to the Hub", "Limitations"]
    assert "None" not in re.sub("```.*?```", "", card, flags=re.S)
    assert "nan" not in card
    assert "\n\n\n\n" not in card
    assert ("▨" in card) == bool((hp.prune_heads(model, mask).grid.present & ~mask).any())


@pytest.mark.slow
@pytest.mark.parametrize("family", ["llama", "t5"])
def test_models_that_write_are_measured_and_used_by_their_own_kind(family, tmp_path):
    model = hp.PrunableModel(tiny(family), tokenizer=tiny_tokenizer())
    mask = np.ones(model.grid.shape, bool)
    mask[0, 0], mask[-1] = False, False
    pruned, examples = hp.prune_heads(model, mask), examples_for(family)
    record = PruningRecord("user/base", "by hand", verification=hp.verify_pruning(model, pruned, examples), criterion="HIES")
    pruned.save_pretrained(tmp_path / "model", record=record)
    card = card_of(tmp_path / "model")
    assert "max. loss difference" in card or "losses are bitwise identical" in card
    assert "bootstrap over examples" in card
    assert "### Reproduce the evaluation" not in card
    assert "2510.13832" in card
    assert f"on {len(examples)} examples" in card
    *_, plain, use = blocks(card)
    space = {}
    exec(f"{plain}\n{use}".replace('"pruned-model"', repr(str(tmp_path / "model"))).replace("a text", "w7 w8"), space)
    assert type(space["model"]).__name__ == type(model.model).__name__


@pytest.mark.slow
def test_without_labels_agreement_is_told(embedded_model, pruned):
    texts = hp.load_examples(split="evaluation", size=12).remove_columns("label")
    record = PruningRecord("embedded", "by hand", verification=hp.verify_pruning(embedded_model, pruned, texts))
    card = model_card(pruned, record)
    found = record.verification.pruned.agreement[0]
    assert f"Agreement with the unpruned model: {found:.1%} on 12 examples" in card
    assert told(card, "Pruned")[0] == pytest.approx(100 * found, abs=0.051)
    assert " pp " not in card
    assert "Accuracy" not in card


def test_a_recovered_model_says_whose_weights_these_are(pruned, record):
    recovery = Recovery(
        40, 60, 300, 8, "teacher", 1e-4, 12.4, np.zeros(40), record.verification.pruned, record.verification.unpruned
    )
    card = model_card(pruned, replace(record, recovery=recovery))
    assert "40 of 60 steps, batch size 8, 300 training examples, training target outputs of the unpruned model" in card
    assert "Verified before fine-tuning." in card
    before, after = share(record.verification.pruned), share(record.verification.unpruned)
    assert told(card, "Before fine-tuning")[0] == pytest.approx(100 * before.value, abs=0.051)
    assert told(card, "After fine-tuning")[0] == pytest.approx(100 * after.value, abs=0.051)
    assert f"Accuracy: {after.value:.1%}" in card
    assert f"result.accuracy[0])  # {after.value:.4f}" in card
    assert "Before fine-tuning, outputs were identical to those of the original model" in card
    assert "Before fine-tuning" not in model_card(pruned, record)


def test_speed_is_told_as_it_was_measured(embedded_model, pruned, record):
    frame = hp.measure_latency(pruned, compare=embedded_model, batch_sizes=(1,), sequence_length=16, repeats=3)
    card = model_card(pruned, replace(record, latency=frame))
    line = frame.iloc[0]
    assert f"| 1 | 16 | cpu | {1000 * line.seconds:.2f} | {1000 * line.compare_seconds:.2f} |" in card
    assert all(f"- {sentence}" in card for sentence in hp.describe_latency(frame))
    alone = frame[[name for name in frame if not name.startswith(("compare", "speedup", "flops_ratio", "heads_share"))]]
    assert "Latency, unpruned" not in model_card(pruned, replace(record, latency=alone))


def test_texts_that_others_do_not_have_are_not_measured_again(pruned, record):
    own = ({"source": name, "size": 9} for name in ("/home/me/secret.csv", "secret.CSV", "data/secret.csv"))
    for arguments in ({}, *own, {"source": "embedded", "size": object()}):
        card = model_card(pruned, replace(record, evaluation_source=arguments))
        assert "### Reproduce the evaluation" not in card
        assert "secret" not in card


EVIL = 'x`*_[a](javascript:1)|\n# h\n---\n<script>alert("1")</script> &amp; \u202e $y$ ```\n- "z": {'


def test_user_text_cannot_break_markdown_or_yaml(pruned, record):
    """Read with a Markdown parser, it is the same document with that text in it."""
    from markdown_it import MarkdownIt

    evil = dict.fromkeys(
        ("source", "mask_description", "revision", "criterion", "calibration_data", "evaluation_data"), EVIL
    )
    tame = dict.fromkeys(evil, "plain")

    def shape(words):
        card = model_card(pruned, replace(record, settings={words["mask_description"]: words["mask_description"]}, **words))
        tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(card.split("---", 2)[2])
        inline = [
            (t.type, [c.type for c in t.children if c.type not in ("text", "text_special")]) for t in tokens if t.children
        ]
        return card, [token.type for token in tokens], inline, tokens

    card, kinds, inline, tokens = shape(evil)
    _, tame_kinds, tame_inline, _ = shape(tame)
    assert kinds == tame_kinds
    assert [children for _, children in inline] == [children for _, children in tame_inline]
    assert front(card)["tags"] == ["pruned", "attention-head-pruning", "headprune"]
    said = "".join(c.content for t in tokens for c in t.children or [] if c.type in ("text", "text_special"))
    assert '<script>alert("1")</script> &amp;' in said
    assert "\u202e" not in card


def test_escaped_and_model_title():
    assert escaped("a\nb\tc") == "a b c"
    assert escaped("a|b") == r"a\|b"
    assert model_title("/home/me/my-model/") == "my-model"
    assert model_title("C:\\Users\\me\\my-model") == "my-model"
    assert model_title("../other") == "other"
    assert model_title("user/model") == "user/model"
    assert model_title("embedded") == "MiniLM-L6 (built-in, tweet sentiment)"


@pytest.mark.parametrize(
    ("criterion", "papers"),
    [
        ("HIS", ["Michel"]),
        ("HIES at 0.25", ["2510.13832", "Michel"]),
        ("Greedy-Gnorm", ["Sheridan"]),
        ("Inverse AE", ["Sheridan"]),
        ("Leave-one-out", ["Michel"]),
        ("Random", []),
        ("Custom", []),
        (None, []),
    ],
)
def test_sources_are_those_of_the_criterion(criterion, papers):
    found = references(criterion)
    assert len(found) == len(papers)
    assert all(paper in line for paper, line in zip(papers, found, strict=True))


def test_a_model_with_all_its_heads_has_no_card():
    with pytest.raises(
        hp.HeadPruneError, match="requires a pruned model, but this model has all its heads; use prune_heads first"
    ):
        model_card(hp.PrunableModel(tiny("bert")))


def test_a_model_on_the_meta_device_has_a_card_too():
    with torch.device("meta"):
        model = hp.PrunableModel(FAMILIES["bert"].build())
    mask = np.ones((3, 4), bool)
    mask[0] = False
    assert "4 of 12 attention heads removed" in model_card(hp.prune_heads(model, mask))
