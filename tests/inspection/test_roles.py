"""Roles that are known by construction, those of random models and shuffled texts, and the table and its evidence."""

import datasets
import numpy as np
import pytest
import torch
import transformers as t
from helpers.role_models import BIDIRECTIONAL, CAUSAL, bidirectional_model, causal_model, pairs, texts
from helpers.tiny_models import random_examples, tiny

import headprune_core as hp
from headprune_core.inspection.head_traits import head_traits
from headprune_core.inspection.roles import ROLES
from headprune_core.inspection.token_patterns import Streams


@pytest.mark.parametrize(
    ("build", "examples", "expected"), [(causal_model, texts(), CAUSAL), (bidirectional_model, pairs(), BIDIRECTIONAL)]
)
def test_every_constructed_head_is_found(build, examples, expected):
    table = head_traits(hp.PrunableModel(build()), examples).roles()
    assert table.primary.tolist() == [role for row in expected for role in row]


def test_every_role_is_constructed():
    assert {role for layer in CAUSAL + BIDIRECTIONAL for role in layer} == {*ROLES, "broad"}


def random_bert_base():
    """Weights as at the beginning of training."""
    torch.manual_seed(0)
    return t.BertForSequenceClassification(t.BertConfig(num_labels=3)).eval()


@pytest.mark.slow
def test_a_random_model_has_no_roles():
    table = head_traits(hp.PrunableModel(random_bert_base()), random_examples(16, longest=32)).roles()
    assert table.primary.isin(["mixed", "broad"]).mean() > 0.95


def changed(examples, change, seed=0):
    rng = np.random.default_rng(seed)
    return examples.map(lambda row: {"input_ids": [int(token) for token in change(rng, row["input_ids"])]})


def without_repetition(rng, ids):
    """The text without its second half, which repeats the first."""
    return rng.permutation(list(dict.fromkeys(ids)))


def test_shuffled_tokens_keep_roles_of_position_and_texts_without_repetition_lose_those_of_content():
    """A shuffled text still repeats tokens, so a head that looks for them keeps its role, and only its position is lost."""
    model = hp.PrunableModel(causal_model())
    tables = [
        head_traits(model, changed(texts(), change)).roles().primary.to_numpy().reshape(2, 4)
        for change in (lambda rng, ids: rng.permutation(ids), without_repetition)
    ]
    for found in tables:
        for role in ("previous", "first", "self", "local"):
            layer, head = next((layer, roles.index(role)) for layer, roles in enumerate(CAUSAL) if role in roles)
            assert found[layer, head] == role
    for role in ("induction", "same_token"):
        assert tables[0][1, CAUSAL[1].index(role)] == role
        assert role not in tables[1]


def test_tokens_shuffled_under_given_attention_keep_roles_of_position_and_destroy_those_of_content(monkeypatch):
    """The control by permutation: the model reads the text, but the traits are told that its tokens are elsewhere."""
    as_read = Streams._stream

    def shuffled(self, ids, real, *others):
        elsewhere = torch.stack([row[torch.randperm(len(row), generator=generator)] for row in ids])
        return as_read(self, elsewhere, real, *others)

    generator = torch.Generator().manual_seed(0)
    monkeypatch.setattr(Streams, "_stream", shuffled)
    traits = head_traits(hp.PrunableModel(causal_model()), texts())
    found = traits.roles().primary.to_numpy().reshape(2, 4)
    places = {role: (layer, head) for layer, roles in enumerate(CAUSAL) for head, role in enumerate(roles)}
    for role in ("previous", "first", "self", "local"):
        assert found[places[role]] == role
    for role in ("induction", "same_token"):
        assert role not in found
        assert abs(traits.lift(role)[:, *places[role]].mean()) < 0.1  # more than 0.25 makes a role


@pytest.mark.slow
def test_shuffled_tweets_keep_the_heads_that_look_at_neighbors(embedded_model):
    """The built-in model has a head for the previous and one for the next token; both survive."""
    tweets = hp.load_examples("embedded", size=24)
    ids = [embedded_model.tokenizer(text)["input_ids"] for text in tweets["text"]]
    examples = datasets.Dataset.from_dict({"input_ids": ids})
    shuffled = changed(examples, lambda rng, row: [row[0], *rng.permutation(row[1:-1]), row[-1]])
    before, after = (head_traits(embedded_model, some).roles().set_index(["row", "head"]) for some in (examples, shuffled))
    for place in ((0, 2), (1, 8)):
        assert before.primary[place] == after.primary[place] in ("previous", "next")


def test_the_label_needs_the_threshold_and_a_clear_second():
    traits = head_traits(hp.PrunableModel(tiny("bert")), random_examples(12))
    for threshold in (0.05, 0.25, 0.6):
        table = traits.roles(threshold)
        named = table[~table.primary.isin(["mixed", "broad"])]
        assert (named.primary == named.largest).all()
        assert (named.lift >= threshold).all()
        assert (named.low > 0).all()
        rest = table[table.primary.isin(["mixed", "broad"])]
        assert ((rest.lift < threshold) | (rest.low <= 0)).all()
        assert ((rest.entropy > 0.9) == (rest.primary == "broad")).all()
    np.testing.assert_allclose(table.lift, table.score - table.null, atol=1e-9)
    assert table.equals(traits.roles(threshold))


def test_evidence_is_a_sentence_with_the_numbers():
    table = head_traits(hp.PrunableModel(causal_model()), texts()).roles()
    assert (
        table.evidence[0] == f"100% of attention is on the previous token; uniform attention would give {table.null[0]:.0%}."
    )
    table = head_traits(hp.PrunableModel(causal_model()), texts()).roles(0.9)
    low = table[table.primary == "mixed"].iloc[0]
    assert low.evidence.startswith("No role reaches the threshold of 90% above uniform attention: ")


def test_labels_of_both_halves_agree_for_constructed_heads():
    assert head_traits(hp.PrunableModel(causal_model()), texts(48)).label_stability(splits=5) > 0.9


def test_few_examples_and_wrong_thresholds_are_refused():
    traits = head_traits(hp.PrunableModel(tiny("bert")), random_examples(3))
    with pytest.raises(hp.HeadPruneError, match="roles need at least 4 examples, got 3; use more examples"):
        traits.roles()
    for wrong in (0, -1, 1.5):
        with pytest.raises(hp.HeadPruneError, match="threshold must be above 0 and at most 1"):
            traits.roles(wrong)
    with pytest.raises(hp.HeadPruneError, match="unknown trait 'size'; choose one of previous, next"):
        traits.mean("size")


def test_the_evidence_of_a_sink_names_its_token(embedded_model):
    traits = head_traits(embedded_model, hp.load_examples("embedded", size=8))
    table = traits.roles()
    sinks = table[table.largest == "sink"]
    named = r'\d+% of attention is on a single token, most often "\S+" \(\d+% of examples\); uniform attention would give'
    assert sinks.evidence.str.contains(named).all()
    assert sinks.evidence.str.contains('"[SEP]"', regex=False).any()
    others = table[(table.largest != "sink") & (table.primary != "mixed")]
    assert not others.evidence.str.contains("most often").any()


def test_the_token_of_a_sink_is_the_most_frequent_one():
    """The delimiter of these texts is in different places, and the last head of the second layer looks for a mark."""
    examples = texts()
    traits = head_traits(hp.PrunableModel(causal_model()), examples)
    place = len(CAUSAL) - 1, CAUSAL[1].index("sink")
    at = [row["input_ids"][position] for row, position in zip(examples, traits.sink_position[:, *place], strict=True)]
    most = max(set(at), key=at.count)
    assert traits.sink_token[place] == f"token {most}"
    assert traits.sink_token_share[place] == at.count(most) / len(at)
