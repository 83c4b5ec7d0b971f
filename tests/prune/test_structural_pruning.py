"""Heads removed for good, against plain models whose output columns are set to zero, in the library's own attention."""

import copy

import numpy as np
import pytest
import torch
import transformers as t
from helpers.tiny_models import FAMILIES, GROUPED, REPRESENTATIVE, SMALL, columns, examples_for, randomized, tiny

import headprune_core as hp
from headprune_core.data.batches import Batch
from headprune_core.data.encoding import encode

GROUPS = ("llama", "llama-classifier", "qwen2", "qwen3", "mistral", "phi3", "gemma2", "gemma3", "gpt-oss")
BIASED = ("t5", "t5-classifier", "mt5")  # hand one position bias for all heads from layer to layer


def mask_of(kind, shape):
    """Masks that leave rows without heads: at random the last one, all but one, or every second from the first on."""
    mask = np.random.default_rng(1).random(shape) < 0.5
    if kind == "one row" and len(mask) > 1:
        mask[:] = False
        mask[len(mask) // 2] = True
    if kind == "whole rows":
        mask[:] = True
        mask[::2] = False
    if kind == "random":
        mask[-1] = False
    if not mask.any():
        mask[0, 1] = True
    return mask


def batch_for(model, family):
    examples = examples_for(family, count=5)
    return encode(model, examples).batch(np.arange(5), model.device)


@torch.no_grad()
def reference(family, mask, batch):
    """Logits of the plain model, the output columns of removed heads set to zero: nothing of ours is in it."""
    model = tiny(family)
    for row, (*_, out) in zip(mask, FAMILIES[family].projections(model), strict=True):
        for head in np.flatnonzero(~row):
            columns(out).unflatten(1, (mask.shape[1], -1))[:, head] = 0
    return answers(model, batch)


@torch.no_grad()
def answers(model, batch):
    """Logits at real positions; a padding token may have nothing to look at, and then each attention has its own way."""
    options = {} if "Classification" in type(model).__name__ else {"use_cache": False}
    logits = model(**batch.inputs, **options).logits
    real = batch.real if batch.decoder_real is None else batch.decoder_real
    return logits[real] if logits.dim() == 3 else logits


def largest_difference(a, b):
    return float((a - b).abs().max())


@pytest.fixture(scope="module")
def wrapped():
    """Every family's model, wrapped when first asked for; never changed."""
    known = {}
    return lambda family: known.setdefault(family, hp.PrunableModel(tiny(family)))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["random", "one row", "whole rows"])
@pytest.mark.parametrize("family", FAMILIES)
def test_pruned_is_masked_in_every_family(family, kind, wrapped):
    model = wrapped(family)
    mask, batch = mask_of(kind, model.grid.shape), batch_for(model, family)
    expected = reference(family, mask, batch)
    pruned = hp.prune_heads(model, mask)
    assert largest_difference(answers(pruned.model, batch), expected) < 1e-5
    assert largest_difference(answers(model.model, batch), expected) > 1e-3  # the mask does change something
    np.testing.assert_array_equal(pruned.grid.kept, mask)


@pytest.mark.slow
@pytest.mark.parametrize("family", [f for f in FAMILIES if f not in BIASED])
def test_a_pruned_model_runs_in_the_librarys_own_attention_too(family, wrapped):
    model = wrapped(family)
    mask, batch = mask_of("random", model.grid.shape), batch_for(model, family)
    body = copy.deepcopy(hp.prune_heads(model, mask).model)
    body.set_attn_implementation("eager")
    assert largest_difference(answers(body, batch), reference(family, mask, batch)) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_the_model_that_is_given_is_not_touched_and_shares_what_is_not_cut(family):
    model = hp.PrunableModel(tiny(family))
    batch = batch_for(model, family)
    weights = {name: value.clone() for name, value in model.model.state_dict().items()}
    said, modules = answers(model.model, batch), {name: str(m) for name, m in model.model.named_modules()}
    mask = mask_of("random", model.grid.shape)
    mask[0] = True
    mask[0, :2] = False
    pruned = hp.prune_heads(model, mask)
    for name, value in model.model.state_dict().items():
        assert torch.equal(value, weights[name])
    assert torch.equal(answers(model.model, batch), said)
    assert {name: str(m) for name, m in model.model.named_modules()} == modules
    before = {p.data_ptr() for p in model.model.parameters()}
    cut = {id(p) for row in pruned.grid.rows for part in (row.q, row.k, row.v, row.out) for p in part.module.parameters()}
    named = {name: p for name, p in pruned.model.named_parameters() if id(p) not in cut and not name.endswith("sinks")}
    shared = [p.data_ptr() in before for p in named.values()]
    assert all(shared)
    assert len(shared) > 5
    assert not any(row.q.module.weight.data_ptr() in before for row in pruned.grid.rows[:1])


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_as_many_parameters_go_as_the_grid_says(family, wrapped):
    model = wrapped(family)
    mask = mask_of("random", model.grid.shape)
    if family in GROUPS:
        mask[:, 1::2] = mask[:, ::2]  # whole groups of two
    pruned = hp.prune_heads(model, mask)
    gone = sum(p.numel() for p in model.model.parameters()) - sum(p.numel() for p in pruned.model.parameters())
    # gpt-oss has a sink for each head too; without heads a row keeps those of one group of two
    sinks = sum(4 - max(2, row.sum()) for row in mask) if family == "gpt-oss" else 0
    assert gone == model.grid.parameters_per_head[~mask].sum() + sinks
    np.testing.assert_array_equal(pruned.grid.parameters_per_head, model.grid.parameters_per_head * mask)
    for row, kept in zip(pruned.grid.rows, mask, strict=True):
        assert [len(part.features) for part in (row.q, row.out)] == [kept.sum()] * 2


@pytest.mark.slow
@pytest.mark.parametrize("family", REPRESENTATIVE)
def test_pruning_a_pruned_model_composes(family, wrapped):
    model = wrapped(family)
    first, second = (np.random.default_rng(seed).random(model.grid.shape) < 0.7 for seed in (3, 4))
    first[-1], second[-1] = True, False
    first[0, 0] = second[0, 0] = True
    twice = hp.prune_heads(hp.prune_heads(model, first), second)
    once = hp.prune_heads(model, first & second)
    np.testing.assert_array_equal(twice.grid.kept, first & second)
    assert list(twice.model.state_dict()) == list(once.model.state_dict())
    for name, value in once.model.state_dict().items():
        assert torch.equal(twice.model.state_dict()[name], value)
    for row, other in zip(twice.grid.rows, once.grid.rows, strict=True):
        np.testing.assert_array_equal(row.k.features, other.k.features)
        np.testing.assert_array_equal(row.present, other.present)


@pytest.mark.slow
@pytest.mark.parametrize("family", REPRESENTATIVE)
def test_masks_of_a_pruned_model_are_in_the_original_numbers(family, wrapped):
    model, examples = wrapped(family), examples_for(family, count=4)
    first = mask_of("random", model.grid.shape)
    masks = np.random.default_rng(5).random((3, *model.grid.shape)) < 0.6
    masks[1] = True
    there = hp.evaluate_masks(hp.prune_heads(model, first), examples, masks)
    here = hp.evaluate_masks(model, examples, masks & first)
    np.testing.assert_allclose(there.loss, here.loss, atol=1e-5)
    assert there.agreement[1] == 1


@pytest.mark.slow
def test_one_row_after_another_until_one_head_is_left(wrapped):
    model, batch = wrapped("bert"), batch_for(wrapped("bert"), "bert")
    pruned, mask = model, np.ones((3, 4), bool)
    for row, head in [(0, 3), (0, 1), (2, 0), (0, 0), (0, 2), (1, 1), (1, 3), (1, 0), (2, 1), (2, 3), (2, 2)]:
        mask[row, head] = False
        step = np.ones((3, 4), bool)
        step[row, head] = False
        pruned = hp.prune_heads(pruned, step)
        assert largest_difference(answers(pruned.model, batch), reference("bert", mask, batch)) < 1e-5
    with pytest.raises(hp.HeadPruneError, match="the mask must keep at least one head, got a mask that prunes all 12"):
        hp.prune_heads(pruned, ~mask)


INSIDE = {  # of two groups of two: what is kept, and whose weights stay, of heads 1, 2 and 3 asked for
    "zero": ([0, 1, 1, 1], [1, 1, 1, 1], None),
    "keep": ([1, 1, 1, 1], [1, 1, 1, 1], r"kept with the rest of their KV groups: heads 1\.0"),
    "remove": ([0, 0, 1, 1], [0, 0, 1, 1], r"removed with the rest of their KV groups: heads 1\.1"),
}


@pytest.mark.parametrize("family", ["llama", "phi3", "gpt-oss"])
@pytest.mark.parametrize("inside", INSIDE)
def test_a_mask_that_cuts_inside_a_group(inside, family, wrapped):
    model, (kept, present, words) = wrapped(family), INSIDE[inside]
    mask = np.ones((3, 4), bool)
    mask[1, 0] = False
    if words is None:
        pruned = hp.prune_heads(model, mask, partial_groups=inside)
    else:
        with pytest.warns(hp.HeadPruneWarning, match=words):
            pruned = hp.prune_heads(model, mask, partial_groups=inside)
    expected = np.ones((3, 4), bool)
    expected[1] = kept
    np.testing.assert_array_equal(pruned.grid.kept, expected)
    assert pruned.grid.rows[1].present.tolist() == np.flatnonzero(present).tolist()
    cut = hp.plan_pruning(model.grid, mask, partial_groups=inside)
    np.testing.assert_array_equal(cut.gated[1], np.array(present) > np.array(kept))
    np.testing.assert_array_equal(cut.rounded[1], np.array(kept, bool) != mask[1])
    batch = batch_for(model, family)
    assert largest_difference(answers(pruned.model, batch), reference(family, expected, batch)) < 1e-5


@pytest.mark.filterwarnings("ignore:removed with the rest")
def test_a_head_without_effect_stays_without_it_and_goes_with_its_group(wrapped):
    model = wrapped("llama")
    mask = np.ones((3, 4), bool)
    mask[1, 0] = False
    gated = hp.prune_heads(model, mask)
    again = hp.prune_heads(gated, np.ones((3, 4), bool), partial_groups="keep")
    np.testing.assert_array_equal(again.grid.kept, mask)
    mask[1, 1] = False
    gone = hp.prune_heads(gated, mask)
    assert gone.grid.rows[1].present.tolist() == [2, 3]
    assert gone.grid.rows[1].k.heads == 1
    assert hp.prune_heads(gated, np.ones((3, 4), bool), partial_groups="remove").grid.rows[1].present.tolist() == [
        0,
        1,
        2,
        3,
    ]


def test_norms_that_have_a_vector_for_each_head_lose_those_of_removed_heads():
    model = randomized(lambda: t.CohereForCausalLM(t.CohereConfig(**GROUPED, use_qk_norm=True, logit_scale=1.0)))
    wrapped = hp.PrunableModel(model)
    mask = np.array([[1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 1]], bool)
    ids = Batch(np.arange(2), {"input_ids": torch.arange(5, 17).reshape(2, 6)}, torch.ones(2, 6, dtype=torch.bool))
    pruned = hp.prune_heads(wrapped, mask)
    with torch.no_grad():
        for layer, row in zip(model.model.layers, mask, strict=True):
            layer.self_attn.o_proj.weight.unflatten(1, (4, -1))[:, ~row] = 0
    assert largest_difference(answers(pruned.model, ids), answers(model, ids)) < 1e-5


def test_a_norm_over_all_heads_at_once_is_refused_by_name():
    model = hp.PrunableModel(randomized(lambda: t.Olmo2ForCausalLM(t.Olmo2Config(**GROUPED))))
    mask = np.ones((3, 4), bool)
    mask[0, :2] = False
    with pytest.raises(
        hp.HeadPruneError, match="Olmo2ForCausalLM does not run with fewer heads in a layer, so its heads can only be masked"
    ):
        hp.prune_heads(model, mask)


@pytest.mark.parametrize("family", ["gpt2", "llama", "gpt-neox", "t5", "bart"])
def test_a_pruned_model_still_writes_with_a_cache(family, wrapped):
    model = wrapped(family)
    pruned = hp.prune_heads(model, mask_of("random", model.grid.shape)).model
    ids = torch.arange(5, 11)[None]
    options = {"max_new_tokens": 5, "do_sample": False, "attention_mask": torch.ones_like(ids), "pad_token_id": 0}
    written = [pruned.generate(input_ids=ids, use_cache=cached, **options) for cached in (True, False)]
    assert torch.equal(*written)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_precisions(dtype):
    model = hp.PrunableModel(tiny("bert").to(dtype))
    mask, batch = mask_of("random", (3, 4)), batch_for(model, "bert")
    pruned = hp.prune_heads(model, mask)
    assert {p.dtype for p in pruned.model.parameters()} == {dtype}
    if dtype == torch.float64:
        plain = tiny("bert").to(dtype)
        for row, (*_, out) in zip(mask, FAMILIES["bert"].projections(plain), strict=True):
            out.weight.data.unflatten(1, (4, -1))[:, ~row] = 0
        assert largest_difference(answers(pruned.model, batch), answers(plain, batch)) < 1e-13


def test_matrix_products_in_bfloat16(wrapped):
    pruned = hp.prune_heads(wrapped("bert"), mask_of("random", (3, 4)))
    whole = np.ones((1, 3, 4), bool)
    exact, rough = (hp.evaluate_masks(pruned, examples_for("bert"), whole, dtype=d).logits for d in (None, "bfloat16"))
    assert 0 < np.abs(exact - rough).max() < 0.1


# Tables 2 to 5 of the Greedy-Gnorm paper: configuration, heads removed, parameters before and after
TABLES = {
    "BERT": (
        lambda: t.BertForSequenceClassification(t.BertConfig(vocab_size=21128, num_labels=3)),
        (117, 102_269_955, 79_244_355),
    ),
    "ALBERT": (
        lambda: t.AlbertForSequenceClassification(
            t.AlbertConfig(hidden_size=768, num_attention_heads=12, intermediate_size=3072, num_labels=3)
        ),
        (3, 11_685_891, 11_095_491),
    ),
    "RoBERTa-large": (
        lambda: t.RobertaForSequenceClassification(
            t.RobertaConfig(
                vocab_size=50265,
                hidden_size=1024,
                num_hidden_layers=24,
                num_attention_heads=16,
                intermediate_size=4096,
                max_position_embeddings=514,
                type_vocab_size=1,
                num_labels=2,
            )
        ),
        (245, 355_361_794, 291_089_474),
    ),
    "XLM-R": (
        lambda: t.XLMRobertaForSequenceClassification(
            t.XLMRobertaConfig(vocab_size=250002, max_position_embeddings=514, type_vocab_size=1, num_labels=20)
        ),
        (105, 278_059_028, 257_395_028),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TABLES)
def test_the_papers_parameters_on_the_meta_device(name):
    build, (removed, before, after) = TABLES[name]
    with torch.device("meta"):
        model = hp.PrunableModel(build())
    mask = np.ones(model.grid.shape, bool)
    mask.flat[np.random.default_rng(0).permutation(mask.size)[:removed]] = False
    pruned = hp.prune_heads(model, mask)
    assert [sum(p.numel() for p in some.model.parameters()) for some in (model, pruned)] == [before, after]


def test_without_weights_nothing_is_run_or_saved(tmp_path):
    with torch.device("meta"):
        model = hp.PrunableModel(FAMILIES["bert"].build())
    pruned = hp.prune_heads(model, mask_of("random", (3, 4)))
    for some in (model, pruned):
        with pytest.raises(hp.HeadPruneError, match="a model on the meta device cannot be run; load it"):
            hp.evaluate_masks(some, examples_for("bert"), np.ones((1, 3, 4), bool))
        with pytest.raises(hp.HeadPruneError, match="a model on the meta device has no weights to save; load it"):
            some.save_pretrained(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_embedded_model_on_real_tweets(embedded_model):
    texts = hp.load_examples("embedded", split="evaluation", size=24)
    mask = np.random.default_rng(0).random((6, 12)) < 0.5
    mask[3] = False
    pruned = hp.prune_heads(embedded_model, mask)
    found = hp.verify_pruning(embedded_model, pruned, texts)
    assert found.max_logit_difference < 1e-5
    assert found.prediction_match == 1
    assert found.reloaded is None
    assert found.masked.accuracy[0] == found.pruned.accuracy[0]
    batch = encode(embedded_model, texts).batch(np.arange(24), embedded_model.device)
    np.testing.assert_allclose(answers(pruned.model, batch), found.masked.logits[0], atol=1e-5)


@pytest.mark.slow
def test_without_labels_a_pruned_model_is_held_against_the_unpruned_one(embedded_model):
    texts = hp.load_examples("embedded", split="evaluation", size=24).remove_columns("label")
    mask = np.random.default_rng(0).random((6, 12)) < 0.3
    found = hp.verify_pruning(embedded_model, hp.prune_heads(embedded_model, mask), texts)
    before, after = (one.logits[0].argmax(-1) for one in (found.unpruned, found.pruned))
    assert 0 < (before == after).mean() < 1
    for one in (found.masked, found.pruned):
        assert one.agreement[0] == (before == after).mean()
        np.testing.assert_array_equal(one.right[0], before == after)
        expected = np.corrcoef(found.unpruned.logits[0].ravel(), one.logits[0].ravel())[0, 1]
        assert one.correlation[0] == pytest.approx(expected, abs=1e-9)


def test_a_proof_needs_two_forms_of_one_model(wrapped):
    with pytest.raises(hp.HeadPruneError, match=r"the two models have different head grids: \(1, 4\) and \(3, 4\)"):
        hp.verify_pruning(wrapped("albert"), wrapped("bert"), examples_for("bert"))


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (
            np.ones((4, 3), bool),
            r"the mask must be Boolean with shape \(3, 4\), .*got bool with shape \(4, 3\); make a mask",
        ),
        (np.ones(12, bool), r"got bool with shape \(12,\)"),
        (np.full((3, 4), 0.5), r"got float64 with shape \(3, 4\) and values from 0.5 to 0.5"),
        (np.zeros((3, 4), bool), "the mask must keep at least one head, got a mask that prunes all 12"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused(mask, words, wrapped):
    with pytest.raises(hp.HeadPruneError, match=words):
        hp.prune_heads(wrapped("bert"), mask)


def test_a_way_with_groups_that_there_is_not_is_refused(wrapped):
    with pytest.raises(hp.HeadPruneError, match="partial_groups must be one of zero, keep, remove, got 'up'"):
        hp.prune_heads(wrapped("llama"), np.ones((3, 4), bool), partial_groups="up")


def test_scores_need_all_heads_and_say_so(wrapped):
    pruned = hp.prune_heads(wrapped("bert"), mask_of("random", (3, 4)))
    examples = examples_for("bert")
    for work, words in (
        (lambda: hp.score_heads(pruned, examples), "scoring"),
        (lambda: hp.greedy_gnorm(pruned, examples), "Greedy-Gnorm"),
        (lambda: hp.gradient_shift(pruned, examples, (0, 0)), "the gradient shift"),
    ):
        with pytest.raises(
            hp.HeadPruneError, match=rf"{words} requires an unpruned model, but \d+ of 12 heads were removed"
        ):
            work()


def test_weights_that_are_not_finite_are_named_by_original_head(wrapped):
    mask = np.ones((3, 4), bool)
    mask[1, :2] = False
    pruned = hp.prune_heads(wrapped("bert"), mask)
    pruned.grid.rows[1].q.module.weight.data[-1, 0] = torch.nan
    assert "the query weights of row 1 (bert.encoder.layer.1.attention.self), head 3" in pruned.describe_non_finite()


def test_a_layer_that_makes_more_than_heads_is_refused():
    model = hp.PrunableModel(randomized(lambda: t.BertForSequenceClassification(t.BertConfig(**SMALL))))
    query = model.model.bert.encoder.layer[0].attention.self.query
    query.weight = torch.nn.Parameter(torch.zeros(40, 32), requires_grad=False)
    mask = np.ones((3, 4), bool)
    mask[0, 0] = False
    with pytest.raises(
        hp.HeadPruneError, match=r"layer\.0\.attention\.self has a layer with 40 features, but only 32 belong to"
    ):
        hp.prune_heads(model, mask)
