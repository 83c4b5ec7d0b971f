"""Every function that takes a mask accepts the same masks, and refuses what is not a mask in one sentence."""

import inspect
import io
import json
import zipfile

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.assert_equal import same
from helpers.tiny_models import random_examples, tiny
from hypothesis import given
from hypothesis import strategies as st

import headprune_core as hp
from headprune_core.checked_mask import checked_mask
from headprune_core.figures.heatmaps import score_heatmap
from headprune_core.figures.masks import describe_difference, mask_difference
from headprune_core.figures.pruned import describe_head_map, head_map_figure, mark_removed
from headprune_core.masks.mask_files import mask_csv, mask_json, read_mask
from headprune_core.report.head_map_png import head_map_png

SHAPE = (3, 4)
MASK = np.array([[1, 0, 1, 1], [0, 1, 1, 0], [1, 1, 0, 1]], bool)
EXAMPLES = random_examples(count=3, longest=5)
SCORES = np.random.default_rng(0).random(SHAPE)
PATH = hp.alpha_path(SCORES, SCORES[::-1], 0.5)


@pytest.fixture(scope="module")
def model():
    return hp.PrunableModel(tiny("bert"))


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "model"
    hp.prune_heads(model, MASK).save_pretrained(folder)
    return folder


def bundled(mask, folder):
    file = hp.write_bundle(folder.parent / "bundle.zip", folder, mask=mask)
    with zipfile.ZipFile(io.BytesIO(file.read_bytes())) as archive:
        return [archive.read(name) for name in ("README.txt", "mask.json", "mask.csv")]


def one(mask):
    """The mask as the only one of several, in its own type."""
    return mask[None] if hasattr(mask, "ndim") and not isinstance(mask, pd.DataFrame) else [mask]


TAKE_A_MASK = {
    "evaluate_masks": lambda mask, model, folder: hp.evaluate_masks(model, EXAMPLES, one(mask)),
    "estimate_evaluation": lambda mask, model, folder: hp.estimate_evaluation(model, EXAMPLES, one(mask)).flops,
    "random_baseline": lambda mask, model, folder: hp.random_baseline(model, EXAMPLES, mask, n_random=1),
    "gradient_shift": lambda mask, model, folder: hp.gradient_shift(model, EXAMPLES, (0, 0), mask=mask),
    "alpha_accuracy": lambda mask, model, folder: hp.alpha_accuracy(model, EXAMPLES, PATH, random=one(mask)),
    "predict_text": lambda mask, model, folder: hp.predict_text(model, EXAMPLES["input_ids"][0], one(mask)).values,
    "plan_pruning": lambda mask, model, folder: vars(hp.plan_pruning(model.grid, mask)),
    "prune_heads": lambda mask, model, folder: hp.prune_heads(model, mask).fingerprint,
    "prune_mask, protect": lambda mask, model, folder: hp.prune_mask(SCORES, 0.25, protect=mask),
    "prune_mask, remove": lambda mask, model, folder: hp.prune_mask(SCORES, 0.5, remove=mask),
    "nested_masks": lambda mask, model, folder: hp.nested_masks(SCORES, protect=mask),
    "alpha_path": lambda mask, model, folder: hp.alpha_path(SCORES, SCORES[::-1], 0.25, protect=mask),
    "random_masks": lambda mask, model, folder: hp.random_masks(SHAPE, 0.25, n_random=2, protect=mask),
    "mask_json": lambda mask, model, folder: mask_json(mask),
    "mask_csv": lambda mask, model, folder: mask_csv(mask),
    "write_bundle": lambda mask, model, folder: bundled(mask, folder),
    "head_map_png, kept": lambda mask, model, folder: head_map_png(mask),
    "head_map_png, present": lambda mask, model, folder: head_map_png(MASK, present=mask),
    "head_map_figure": lambda mask, model, folder: head_map_figure(mask).to_json(),
    "describe_head_map": lambda mask, model, folder: describe_head_map(MASK, mask),
    "mask_difference": lambda mask, model, folder: mask_difference(mask, MASK, ("a", "b")).to_json(),
    "describe_difference": lambda mask, model, folder: describe_difference(~MASK, mask, ("a", "b")),
    "mark_removed": lambda mask, model, folder: mark_removed(score_heatmap(SCORES, "", SCORES.astype(str)), mask).to_json(),
}
TYPES = {
    "list": lambda mask: mask.tolist(),
    "integers": lambda mask: mask.astype(int),
    "unsigned": lambda mask: mask.astype(np.uint8),
    "float32": lambda mask: mask.astype(np.float32),
    "list of numbers": lambda mask: mask.astype(float).tolist(),
    "tensor": torch.tensor,
    "float tensor": lambda mask: torch.tensor(mask).float(),
    "bfloat16 tensor": lambda mask: torch.tensor(mask).bfloat16(),
    "list of tensors": lambda mask: list(torch.tensor(mask)),
    "table": pd.DataFrame,
    "columns first": np.asfortranarray,
}
NO_MASKS = {
    "scores": (
        SCORES,
        r"got float64 with shape \(.*3, 4\) and values from [\d.]+ to [\d.]+; (make|set) ",
    ),
    "soft gates": (torch.tensor(SCORES).float(), r"got float32 with shape \(.*3, 4\) and values from 0"),
    "gates that are learned": (torch.ones(SHAPE, requires_grad=True), "got (Tensor with gradients|list) that is no array"),
    "ranks": (np.arange(12).reshape(SHAPE), r"got int64 with shape \(.*3, 4\) and values from 0 to 11"),
    "negative": (-MASK.astype(int), r"and values from -1 to 0"),
    "nan": (np.where(MASK, 1.0, np.nan), "and values that are not finite"),
    "heads": ([(0, 1), (2, 3)], r"got int64 with shape \(.*2, 2\) and values from 0 to 3"),
    "heads by layer": ({0: [1], 1: [0, 3]}, r"got (dict|list) of type object"),
    "rows of different lengths": ([[True], [True, False]], "got list that is no array"),
    "another shape": (MASK.T, r"got bool with shape \(.*4, 3\)"),
    "flat": (MASK.ravel(), r"got bool with shape \(.*12,?\)"),
    "text": (MASK.astype(str), "got (ndarray|list) of type <U5"),
    "None in it": (MASK.astype(object), "got (ndarray|list) of type object"),
    "nothing": ("", "got (str|list) of type <U1"),
}
ANY_SHAPE = ("mask_json", "mask_csv", "write_bundle", "head_map_png, kept", "head_map_figure", "mark_removed")


@pytest.mark.slow
@pytest.mark.parametrize("take", TAKE_A_MASK)
def test_masks_of_every_type_give_the_same_result(take, model, folder):
    expected = TAKE_A_MASK[take](MASK, model, folder)
    for kind, converted in TYPES.items():
        assert same(TAKE_A_MASK[take](converted(MASK), model, folder), expected), kind


@pytest.mark.parametrize("take", TAKE_A_MASK)
@pytest.mark.parametrize(("value", "words"), NO_MASKS.values(), ids=NO_MASKS)
def test_what_is_no_mask_is_refused(take, value, words, model, folder):
    if take in ANY_SHAPE and value is NO_MASKS["another shape"][0]:
        words = None  # a mask of another model
    if take in ("mask_difference", "describe_difference") and value is NO_MASKS["another shape"][0]:
        words = "masks must have the same shape"
    if words is None:
        TAKE_A_MASK[take](value, model, folder)
        return
    with pytest.raises(hp.HeadPruneError, match=words) as refusal:
        TAKE_A_MASK[take](value, model, folder)
    assert "\n" not in str(refusal.value)


def test_every_public_function_that_takes_a_mask_is_tested_here():
    masks = {"mask", "masks", "kept", "present", "protect", "remove"}
    functions = inspect.getmembers(hp, inspect.isfunction)
    take_a_mask = {name for name, function in functions if masks & set(inspect.signature(function).parameters)}
    assert take_a_mask - {name.partition(",")[0] for name in TAKE_A_MASK} == set()


def test_an_empty_mask_is_refused():
    with pytest.raises(hp.HeadPruneError, match=r"got bool with shape \(0, 4\)"):
        checked_mask(np.ones((0, 4), bool))


@given(
    rows=st.integers(1, 4),
    heads=st.integers(1, 5),
    dtype=st.sampled_from([bool, np.int8, np.uint16, np.int64, np.float16, np.float32, np.float64]),
    data=st.data(),
)
def test_only_zeros_and_ones_are_a_mask(rows, heads, dtype, data):
    """Changing one entry of a mask to any other number makes it something else."""
    flat = data.draw(st.lists(st.booleans(), min_size=rows * heads, max_size=rows * heads))
    mask = np.array(flat).reshape(rows, heads)
    for value in (mask.astype(dtype), torch.tensor(mask.astype(dtype)) if dtype != np.uint16 else mask):
        found = checked_mask(value, (rows, heads))
        assert found.dtype == bool
        np.testing.assert_array_equal(found, mask)
    other = mask.astype(float)
    other.ravel()[data.draw(st.integers(0, rows * heads - 1))] = data.draw(st.floats().filter(lambda x: x not in (0, 1)))
    with pytest.raises(hp.HeadPruneError, match="must be Boolean"):
        checked_mask(other)


def test_a_mask_file_holds_booleans_only(model):
    soft = json.loads(mask_json(MASK)) | {"kept": SCORES.tolist()}
    with pytest.raises(hp.HeadPruneError, match=r"kept in mask.json must be true or false, got 0"):
        read_mask(json.dumps(soft).encode(), "mask.json", model.grid)
