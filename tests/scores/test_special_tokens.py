"""Entropy without special tokens: attention of the library without them as queries and keys, renormalized."""

import datasets
import numpy as np
import pytest
import torch
from helpers.reference import Double, inputs, prepared
from helpers.tiny_models import FAMILIES, examples_for, tiny, tiny_tokenizer

import headprune_core as hp

TEXTUAL = [family for family in FAMILIES if family not in ("vit", "deit")]
MARK = 3  # [SEP]; the tokenizer's other special tokens are [PAD], 0, and [CLS], 2


def with_special_tokens(family, count=6):
    """Random examples with special tokens at the start of inputs and within inputs and targets."""
    generator, examples = np.random.default_rng(1), examples_for(family, count)
    for column in {"input_ids", "target_ids"} & set(examples.column_names):
        rows = []
        for ids in examples[column]:
            keep = generator.random(len(ids)) < 0.6
            keep[[0, 1, -1]] = column == "target_ids", True, True  # its last token is not read
            rows.append(np.where(keep, ids, MARK).tolist())
        examples = examples.remove_columns(column).add_column(column, rows)
    return examples


def is_word(ids, marks):
    return ~np.isin(ids, list(marks))


def plain_entropy(attention, queries, keys):
    """(H,) from probabilities (H, T, S), one query at a time; the share of an attention sink stays in the sum."""
    result = []
    for a in attention[:, queries]:
        sink = 1 - a.sum(-1, keepdims=True)
        among = a[:, keys] / (a[:, keys].sum(-1, keepdims=True) + np.maximum(sink, 0))
        result.append(np.mean([-(row[row > 0] * np.log(row[row > 0])).sum() for row in among]))
    return result


def reference(family, example, marks):
    """(R, H), from the attention of the library in double precision."""
    model = prepared(tiny(family))
    given = inputs(model, example)
    with torch.no_grad(), Double():
        output = model(**given, output_attentions=True)
    text = is_word(example["input_ids"], marks)
    if "encoder_attentions" not in output:
        rows = [plain_entropy(a[0].numpy(), text, text) for a in output.attentions]
        return np.mean(rows, axis=0, keepdims=True) if family == "albert" else rows
    if "decoder_input_ids" in given:
        read = given["decoder_input_ids"][0].tolist()
    else:
        read = [model.config.decoder_start_token_id, *example["input_ids"][:-1]]
    written = is_word(read, marks)
    rows = [plain_entropy(a[0].numpy(), text, text) for a in output.encoder_attentions]
    for own, cross in zip(output.decoder_attentions, output.cross_attentions, strict=True):
        rows += [plain_entropy(own[0].numpy(), written, written), plain_entropy(cross[0].numpy(), written, text)]
    return rows


@pytest.mark.slow
@pytest.mark.parametrize("family", TEXTUAL)
def test_entropy_without_special_tokens_equals_the_reference(family):
    model, examples = hp.PrunableModel(tiny(family), tiny_tokenizer()), with_special_tokens(family)
    expected = np.array([reference(family, example, {0, 2, MARK}) for example in examples])
    for batch_size in (1, 6):  # without padding and with it
        scores = hp.score_heads(model, examples, metrics=("ae",), special_tokens=False, batch_size=batch_size)
        np.testing.assert_allclose(scores.per_example["ae"], expected, rtol=1e-4, atol=1e-5)
        assert scores.settings["special_tokens"] is False
    whole = hp.score_heads(model, examples, metrics=("ae",)).per_example["ae"]
    assert not np.allclose(whole, expected, rtol=0.05)


@pytest.mark.parametrize(("family", "marks"), [("gpt2", {0, 1, 2}), ("t5", {0, 1}), ("llama", {0, 1, 2}), ("bert", {0})])
def test_without_a_tokenizer_the_config_names_the_special_tokens(family, marks):
    examples = examples_for(family, 5)
    texts = [[min(marks), ids[0], max(marks), *ids[1:]] for ids in examples["input_ids"]]
    examples = examples.remove_columns("input_ids").add_column("input_ids", texts)
    expected = np.array([reference(family, example, marks) for example in examples])
    scores = hp.score_heads(hp.PrunableModel(tiny(family)), examples, metrics=("ae",), special_tokens=False)
    np.testing.assert_allclose(scores.per_example["ae"], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["normalized", "A", "B", "C"])
def test_every_kind_of_entropy_excludes_special_tokens(kind):
    """The result equals that of inputs without special tokens, for a model without position embeddings."""
    model = hp.PrunableModel(tiny("bert"), tiny_tokenizer())
    with torch.no_grad():
        model.model.bert.embeddings.position_embeddings.weight.zero_()
        model.model.bert.embeddings.word_embeddings.weight[MARK] = model.model.bert.embeddings.word_embeddings.weight[7]
    examples = with_special_tokens("bert")
    bare = datasets.Dataset.from_dict({"input_ids": [[i for i in ids if i != MARK] for ids in examples["input_ids"]]})
    options = {"metrics": ("ae",), "entropy": kind}
    with_marks = hp.score_heads(model, examples, special_tokens=False, **options).per_example["ae"]
    # only in the first row: in later ones, other tokens have attended to the special tokens
    np.testing.assert_allclose(with_marks[:, 0], hp.score_heads(model, bare, **options).per_example["ae"][:, 0], rtol=1e-4)


def test_other_scores_do_not_change(embedded_model, calibration):
    few = calibration.select(range(4))
    without, whole = (hp.score_heads(embedded_model, few, special_tokens=kept) for kept in (False, True))
    for metric in ("his", "gnorm"):
        np.testing.assert_array_equal(without.per_example[metric], whole.per_example[metric])
    assert (without.ae != whole.ae).all()


@pytest.mark.parametrize("family", ["vit", "deit"])
def test_an_image_has_no_special_tokens(family):
    model, examples = hp.PrunableModel(tiny(family)), examples_for(family)
    without, whole = (hp.score_heads(model, examples, metrics=("ae",), special_tokens=kept).ae for kept in (False, True))
    np.testing.assert_array_equal(without, whole)


def test_an_example_of_special_tokens_only_is_refused():
    """The error names the example and does not blame the weights."""
    model = hp.PrunableModel(tiny("bert"), tiny_tokenizer())
    examples = datasets.Dataset.from_dict({"text": ["w5 w6", ""]})
    with pytest.raises(hp.HeadPruneError) as refusal:
        hp.score_heads(model, examples, metrics=("ae",), special_tokens=False)
    assert "example 1" in str(refusal.value)
    assert "weights" not in str(refusal.value)
