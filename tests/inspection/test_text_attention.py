"""Attention on one text against the library's eager attention and a slow loop; tokens, labels, documents and bad input."""

import base64
import copy

import numpy as np
import pytest
import torch
from helpers.reference import _attentions, inputs
from helpers.tiny_models import FAMILIES, columns, examples_for, tiny, tiny_tokenizer
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

import headprune_core as hp
from headprune_core.inspection.attention_document import SCALE, STRONGEST
from headprune_core.inspection.text_tokens import surface_texts

CLOSE = {"rtol": 0, "atol": 1e-6}


def ids_of(family, number=-1):
    """Tokens of a random example of a family, as text_attention expects them, and the example."""
    example = examples_for(family)[number]
    target = example.get("target_ids")
    return (example["input_ids"] if target is None else (example["input_ids"], target)), example


def eager(model, example):
    """(T, S) attention per layer call and head, by the library's own eager attention in single precision."""
    model = copy.deepcopy(model)
    model.set_attn_implementation("eager")
    with torch.no_grad():
        output = model(**inputs(model, example), output_attentions=True)
    return [attention[0].numpy() for attention in _attentions(output)]


@pytest.mark.parametrize("family", ["bert", "gpt2", "llama", "gemma2", "gpt-oss", "t5", "bart", "albert"])
def test_attention_equals_the_eager_attention_of_the_library(family):
    model = tiny(family)
    token_ids, example = ids_of(family)
    expected = eager(model, example)
    wrapped = hp.PrunableModel(model)
    for row, attention_row in enumerate(wrapped.grid.rows):
        found = hp.text_attention(wrapped, None, heads=[(row, 2), (row, "mean")], token_ids=token_ids)
        layers = [i for i, other in enumerate(wrapped.grid.layers) if other == row]
        assert [layer for _, _, layer in found.heads] == layers * 2
        wanted = np.stack([expected[i][2] for i in layers] + [expected[i].mean(0) for i in layers])
        np.testing.assert_allclose(found.attention, wanted, **CLOSE)
        assert found.attention.dtype == found.weighted.dtype == np.float32
        assert found.kind == attention_row.kind
        assert found.attention.shape[1:] == (len(found.queries), len(found.keys))


def values_of(model, family, example):
    """(T, value features) of each row, from the value projections."""
    values = []
    hooks = [
        row[2].register_forward_hook(lambda *call: values.append(call[2][0].detach()))
        for row in FAMILIES[family].projections(model)
    ]
    with torch.no_grad():
        model(**inputs(model, example))
    for hook in hooks:
        hook.remove()
    return values


@pytest.mark.parametrize("family", ["bert", "llama", "t5"])
def test_weighted_attention_equals_a_slow_loop(family):
    model = tiny(family)
    token_ids, example = ids_of(family)
    expected, values = eager(model, example), values_of(model, family, example)
    wrapped = hp.PrunableModel(model)
    for row, (*_, out) in enumerate(FAMILIES[family].projections(model)):
        found = hp.text_attention(wrapped, None, heads=[(row, h) for h in range(4)], token_ids=token_ids)
        weight = columns(out).detach()
        size, per_group = weight.shape[1] // 4, 4 * values[row].shape[1] // weight.shape[1]
        for head in range(4):
            group = head * per_group // 4
            for key in range(found.attention.shape[2]):
                moved = weight[:, head * size : (head + 1) * size] @ values[row][key, group * size : (group + 1) * size]
                wanted = expected[row][head][:, key] * float(moved.norm())
                np.testing.assert_allclose(found.weighted[head][:, key], wanted, rtol=1e-5, atol=1e-6)


def test_cross_attention_has_the_tokens_of_both_texts():
    model = hp.PrunableModel(tiny("t5"), tiny_tokenizer(eos_token="[SEP]"))
    row = model.grid.row_labels.index("cross 0")
    found = hp.text_attention(model, "w10 w11 w12", pair="w20 w21", heads=[(row, 0)])
    assert found.keys.tokens == ("[CLS]", "w10", "w11", "w12", "[SEP]")
    assert found.queries.tokens == ("[PAD]", "[CLS]", "w20", "w21")  # the target, shifted by one token
    assert (found.kind, found.labels) == ("cross", ("Cross 0, head 0",))
    with pytest.raises(hp.HeadPruneError, match="pass the target text as pair"):
        hp.text_attention(model, "w10", heads=[(row, 0)])
    with pytest.raises(hp.HeadPruneError, match="rows of one kind, got cross and encoder"):
        hp.text_attention(model, "w10", pair="w11", heads=[(row, 0), (0, 0)])


def test_pairs_have_segments_and_special_tokens():
    names = ["input_ids", "token_type_ids", "attention_mask"]
    model = hp.PrunableModel(tiny("bert"), tiny_tokenizer(model_input_names=names))
    found = hp.text_attention(model, "w10 w11", pair="w12", heads=[(2, 1)])
    assert found.queries == found.keys
    assert found.queries.tokens == ("[CLS]", "w10", "w11", "[SEP]", "w12", "[SEP]")
    assert found.queries.special == (True, False, False, True, False, True)
    assert found.queries.segment == (0, 0, 0, 0, 1, 1)
    assert (found.labels, found.notes, found.truncated) == (("Layer 2, head 1",), (), False)


def test_layers_that_share_a_row_are_entries_of_their_own():
    model = hp.PrunableModel(tiny("albert"), tiny_tokenizer())
    found = hp.text_attention(model, "w10 w11", heads=[(0, 3), (0, "mean")])
    assert found.heads == tuple((0, head, layer) for head in (3, "mean") for layer in range(3))
    assert found.labels[1] == "Layer 1 (row 0), head 3"
    assert found.labels[5] == "Layer 2 (row 0), mean of 4 heads"


# Documents


def integers(part, kind="<u2"):
    return np.frombuffer(base64.b64decode(part), kind)


def test_a_document_has_all_pairs_as_integers():
    model = hp.PrunableModel(tiny("bert"), tiny_tokenizer())
    found = hp.text_attention(model, "w10 w11 w12", heads=[(0, 1), (1, "mean")])
    document = found.document()
    assert document["storage"] == "all pairs"
    assert [head["label"] for head in document["heads"]] == ["Layer 0, head 1", "Layer 1, mean of 4 heads"]
    for entry, raw, weighted in zip(document["heads"], found.attention, found.weighted, strict=True):
        np.testing.assert_array_equal(integers(entry["raw"]["values"]).reshape(5, 5), np.rint(raw * SCALE))
        shares = integers(entry["weighted"]["values"]).reshape(5, 5) / SCALE
        np.testing.assert_allclose(shares, weighted / weighted.sum(-1, keepdims=True), atol=0.51 / SCALE)
    assert document["id"] == found.document()["id"]
    assert document["id"] != hp.text_attention(model, "w10 w11 w13", heads=[(0, 1)]).document()["id"]


@pytest.mark.slow
def test_the_document_of_a_long_text_has_the_strongest_keys():
    model = hp.PrunableModel(tiny("llama"))
    ids = np.random.default_rng(0).integers(5, 90, 600).tolist()
    found = hp.text_attention(model, None, heads=[(0, 1)], token_ids=ids)
    document = found.document()
    assert (document["storage"], document["per_query"]) == ("strongest keys", STRONGEST)
    raw = document["heads"][0]["raw"]
    keys, values = integers(raw["keys"], "<u4").reshape(600, -1), integers(raw["values"]).reshape(600, -1)
    for query in (0, 3, 200, 599):
        row = found.attention[0, query]
        np.testing.assert_array_equal(values[query], np.rint(np.sort(row)[::-1][:STRONGEST] * SCALE))
        np.testing.assert_array_equal(row[keys[query]], np.sort(row)[::-1][:STRONGEST])
        rest = integers(raw["rest"])[query] / SCALE
        assert rest == pytest.approx(np.sort(row)[:-STRONGEST].sum(), abs=1 / SCALE)


# Tokens


def byte_level() -> PreTrainedTokenizerFast:
    """A byte-level tokenizer whose only longer token is " late"."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = ["l", "a", "t", "e"]
    merges, tokens = [], ["Ġ"]
    for letter in words:
        merges.append((tokens[-1], letter))
        tokens.append(tokens[-1] + letter)
    vocabulary = {token: i for i, token in enumerate([*alphabet, *tokens[1:]])}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def surfaces(tokenizer, text):
    ids = tokenizer(text)["input_ids"]
    tokens = tokenizer.convert_ids_to_tokens(ids)
    return tokens, surface_texts(tokenizer, ids, tokens, [False] * len(ids))


def test_bytes_of_one_character_are_shown_as_its_parts():
    tokens, texts = surfaces(byte_level(), "a late😀é")
    assert tokens[:2] == ["a", "Ġlate"]
    assert texts == ["a", " late", "😀 (1/4)", "😀 (2/4)", "😀 (3/4)", "😀 (4/4)", "é (1/2)", "é (2/2)"]


def test_bytes_that_are_no_character_keep_the_tokens():
    tokenizer = byte_level()
    ids = tokenizer("😀")["input_ids"][:2] + tokenizer("a")["input_ids"]
    tokens = tokenizer.convert_ids_to_tokens(ids)
    assert surface_texts(tokenizer, ids, tokens, [False] * 3) == [*tokens[:2], "a"]


def test_right_to_left_text_is_kept():
    _, texts = surfaces(byte_level(), "שלום")
    assert [text[0] for text in texts[::2]] == list("שלום")


def test_word_pieces_lose_their_prefix_and_other_number_signs_stay():
    pieces = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordPiece({"[UNK]": 0, "won": 1, "##der": 2}, unk_token="[UNK]"))
    )
    pieces.backend_tokenizer.decoder = decoders.WordPiece()
    assert surfaces(pieces, "wonder") == (["won", "##der"], ["won", "der"])
    tokens, texts = surfaces(byte_level(), "##a")
    assert tokens == texts == ["#", "#", "a"]


def test_spaces_of_sentencepiece_are_spaces():
    tokenizer = Tokenizer(models.Unigram([("<unk>", 0.0), ("▁late", -1.0), ("r", -1.0)], unk_id=0))
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    assert surfaces(PreTrainedTokenizerFast(tokenizer_object=tokenizer), "later") == (["▁late", "r"], [" late", "r"])


# Bad input


@pytest.fixture(scope="module")
def bert():
    return hp.PrunableModel(tiny("bert"), tiny_tokenizer())


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", {}, "text is empty; pass at least one character"),
        (None, {}, "text is empty; pass at least one character"),
        (["w10"], {}, "text must be a string, got list"),
        ("w10", {"pair": ""}, "pair is empty; pass at least one character"),
        ("w10", {"heads": []}, "heads must name at least one head"),
        ("w10", {"heads": [(3, 0)]}, "the model has no head 0 in row 3; rows are 0 to 2, heads 0 to 3"),
        ("w10", {"heads": [(0, -1)]}, "the model has no head -1 in row 0"),
        ("w10", {"heads": [(9, "mean")]}, "the model has no head mean in row 9"),
        ("w10", {"heads": [(0, "max")]}, r"heads must be \(row, head\) or \(row, 'mean'\), got"),
        ("w10", {"heads": 3}, r"heads must be \(row, head\) or \(row, 'mean'\), got 3"),
        (None, {"token_ids": []}, "token_ids must have at least one token, got none"),
        (None, {"token_ids": [400]}, "the text has a token outside the model's vocabulary"),
    ],
)
def test_bad_input_is_one_sentence(bert, text, options, message):
    with pytest.raises(hp.HeadPruneError, match=message) as error:
        hp.text_attention(bert, text, **{"heads": [(0, 0)]} | options)
    assert "\n" not in str(error.value)


def test_special_tokens_alone_are_said(bert):
    found = hp.text_attention(bert, " ", heads=[(0, 0)])
    assert found.queries.tokens == ("[CLS]", "[SEP]")
    assert found.notes == ("The text consists of special tokens only.",)
    assert found.document()["notes"] == list(found.notes)


def test_a_long_text_is_truncated_and_that_is_said():
    model = hp.PrunableModel(tiny("gpt2"), tiny_tokenizer())
    with pytest.warns(hp.HeadPruneWarning, match="exceed the model's maximum length of 70 tokens"):
        found = hp.text_attention(model, " ".join(["w10"] * 90), heads=[(0, 0)])
    assert (found.truncated, found.full_length, len(found.keys)) == (True, 92, 70)
    assert found.notes == ("The text has 92 tokens and was truncated to the first 70.",)


def test_a_model_without_a_tokenizer_needs_token_ids():
    model = hp.PrunableModel(tiny("bert"))
    with pytest.raises(hp.HeadPruneError, match="has no tokenizer; pass token_ids in place of the text"):
        hp.text_attention(model, "w10", heads=[(0, 0)])
    assert hp.text_attention(model, None, heads=[(0, 0)], token_ids=[7, 8]).queries.surface == ("#7", "#8")


def test_an_image_model_is_refused():
    with pytest.raises(hp.HeadPruneError, match="reads images; text attention requires a text model"):
        hp.text_attention(hp.PrunableModel(tiny("vit")), "w10", heads=[(0, 0)])


def test_attention_that_is_not_finite_is_refused():
    model = tiny("bert")
    with torch.no_grad():
        model.bert.encoder.layer[1].attention.self.query.weight[0] = torch.nan
    with pytest.raises(hp.HeadPruneError, match="the attention of head 0 in row 1 is not finite for this text"):
        hp.text_attention(hp.PrunableModel(model, tiny_tokenizer()), "w10 w11", heads=[(0, 0), (1, 0)])


def test_too_many_values_are_refused(bert, monkeypatch):
    monkeypatch.setattr("headprune_core.inspection.text_attention.MOST_VALUES", 100)
    with pytest.raises(hp.HeadPruneError, match="has 128 values; choose fewer heads or a shorter text"):
        hp.text_attention(bert, "w10 w11 w12 w13 w14 w15", heads=[(0, 0), (0, 1)])


def test_a_pruned_model_has_its_kept_heads(bert):
    mask = np.ones(bert.grid.shape, bool)
    mask[0, :2] = False
    mask[1] = False
    pruned = hp.prune_heads(bert, mask)
    found = hp.text_attention(pruned, "w10 w11", heads=[(0, 3), (0, "mean")])
    unpruned = hp.text_attention(bert, "w10 w11", heads=[(0, 2), (0, 3)])
    np.testing.assert_allclose(found.attention[0], unpruned.attention[1], **CLOSE)
    np.testing.assert_allclose(found.weighted[0], unpruned.weighted[1], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.attention[1], unpruned.attention.mean(0), **CLOSE)
    assert found.labels[1] == "Layer 0, mean of 2 heads"
    with pytest.raises(hp.HeadPruneError, match="head 1 of row 0 is pruned and has no attention"):
        hp.text_attention(pruned, "w10 w11", heads=[(0, 1)])
    with pytest.raises(hp.HeadPruneError, match="all heads of row 1 are pruned"):
        hp.text_attention(pruned, "w10 w11", heads=[(1, "mean")])


def test_a_pruned_model_with_shared_keys_and_values():
    model = hp.PrunableModel(tiny("llama"))
    mask = np.ones(model.grid.shape, bool)
    mask[0, 1] = False  # its KV group remains for head 0
    pruned = hp.prune_heads(model, mask)
    options = {"heads": [(0, 0), (0, 3)], "token_ids": [5, 9, 7, 6]}
    found, expected = hp.text_attention(pruned, None, **options), hp.text_attention(model, None, **options)
    np.testing.assert_allclose(found.attention, expected.attention, **CLOSE)
    np.testing.assert_allclose(found.weighted, expected.weighted, rtol=1e-5, atol=1e-6)
    with pytest.raises(hp.HeadPruneError, match="head 1 of row 0 is pruned"):
        hp.text_attention(pruned, None, heads=[(0, 1)], token_ids=[5, 6])


def test_a_long_text_of_a_decoder_says_how_much_is_read():
    tokenizer = tiny_tokenizer(eos_token="[SEP]", model_max_length=20)
    model = hp.PrunableModel(tiny("t5"), tokenizer)
    row = model.grid.row_labels.index("decoder 0")
    with pytest.warns(hp.HeadPruneWarning, match="exceed the model's maximum length of 20 tokens"):
        found = hp.text_attention(model, " ".join(["w10"] * 40), pair="w11", heads=[(row, 0)])
    assert found.notes == ("The text has 42 tokens and was truncated to the first 20.",)
    assert len(found.keys) == 3
