"""Every criterion: its documentation, what it needs and costs, and what it prunes first."""

import importlib
import inspect
import io
from pathlib import Path

import numpy as np
import pytest
from helpers.tiny_models import random_examples, tiny

import headprune_core as hp
from headprune_core.masks.criteria import ALL, CRITERIA
from headprune_core.masks.criteria.criterion import COSTS
from headprune_core.masks.criteria.table import criteria_table
from headprune_core.masks.rankings import read_ranking
from headprune_core.scores.activation_capture import ActivationCapture

ROOT = Path(__file__).resolve().parents[2]
FORM = ("Paper", "Formula", "Needs", "Labels", "Cost", "Direction")
SCORES = {"his": "HIS", "ae": "AE", "gnorm": "Gnorm"}
every_criterion = pytest.mark.parametrize("criterion", ALL, ids=lambda criterion: criterion.name)

# What a `direction` speaks of, computed without the criterion. A criterion that ranks by something else adds a line here.
QUANTITIES = {
    "HIS": lambda scores: scores.his,
    "AE": lambda scores: scores.ae,
    "Gnorm": lambda scores: scores.gnorm,
    "HIES": lambda scores: hp.hies(scores.his, scores.ae, 0.5),
    "HIES with reversed entropy term": lambda scores: hp.hies(scores.his, scores.ae, 0.5, entropy_direction="high"),
    "loss change": lambda scores: single_head_loss_changes(),
    "value": lambda scores: CUSTOM,
}
CUSTOM = np.array([[0.5, 3.0, 2.0, 7.0], [4.0, -1.0, 6.0, 5.0], [8.0, 9.0, 10.0, 11.0]])


@pytest.fixture(scope="module")
def scores():
    return hp.score_heads(hp.PrunableModel(tiny("bert")), random_examples())


def single_head_loss_changes():
    """(R, H) loss with one head masked minus the loss with all heads, one evaluation per head."""
    model, examples = hp.PrunableModel(tiny("bert")), random_examples()
    changes = np.empty(model.grid.shape)
    for row, head in np.ndindex(changes.shape):
        mask = np.ones(changes.shape, bool)
        mask[row, head] = False
        before, after = hp.evaluate_masks(model, examples, [np.ones_like(mask), mask]).loss
        changes[row, head] = after - before
    return changes


def produced(criterion, examples):
    """The ranking of a criterion that needs a run of its own, by the call that it names."""
    matrix = io.StringIO("\n".join(",".join(map(str, row)) for row in CUSTOM))
    names = {"greedy_gnorm": hp.greedy_gnorm, "leave_one_out": hp.leave_one_out, "read_ranking": read_ranking}
    return eval(
        criterion.produced_by, names | {"model": hp.PrunableModel(tiny("bert")), "examples": examples, "file": matrix}
    )


def ranked(criterion, scores):
    if criterion.produced_by is not None:
        return produced(criterion, random_examples())
    return criterion.rank(scores, 0.5, np.random.default_rng(0))


def documented(criterion):
    """(module docstring, its labeled lines) of the file of a criterion."""
    module = importlib.import_module(f"headprune_core.masks.criteria.{criterion.name}")
    assert module.CRITERION is criterion
    docstring = inspect.getdoc(module)
    return docstring, dict(line.split(": ", 1) for line in docstring.splitlines()[2:])


@every_criterion
def test_the_docstring_has_the_fixed_form(criterion):
    docstring, lines = documented(criterion)
    first, blank, *_ = docstring.splitlines()
    assert first.endswith(".")
    assert blank == ""
    assert tuple(lines) == FORM
    assert all(text.endswith(".") and len(text) > 1 for text in lines.values())


@every_criterion
def test_the_docstring_says_what_the_fields_say(criterion):
    _, lines = documented(criterion)
    expected = f"`{criterion.produced_by}`" if criterion.produced_by else ", ".join(SCORES[name] for name in criterion.needs)
    assert lines["Needs"] == f"{expected or 'nothing'}."
    assert lines["Paper"] == f"{criterion.paper}."
    assert lines["Cost"] == f"{criterion.cost}."
    assert lines["Direction"] == f"{criterion.direction}."
    assert lines["Labels"].startswith("yes" if criterion.needs_labels else "no")


@every_criterion
def test_each_is_registered_under_its_name(criterion):
    assert CRITERIA[criterion.name] is criterion
    assert list(CRITERIA) == [entry.name for entry in ALL]
    assert criterion.random == (criterion.name == "random")
    assert criterion.label
    assert criterion.note[0].islower() or criterion.note.startswith(criterion.label.split()[0])
    assert not criterion.note.endswith(".")


def test_there_is_one_file_per_criterion_and_no_more():
    files = {path.stem for path in (ROOT / "headprune_core/masks/criteria").glob("*.py")}
    assert files - {"__init__", "criterion", "table"} == {criterion.name for criterion in ALL}


@pytest.mark.slow
@every_criterion
def test_each_needs_what_it_declares_and_no_more(criterion, scores):
    assert bool(criterion.needs) == (criterion.produced_by is None and not criterion.random)
    if criterion.produced_by is not None:
        assert produced(criterion, random_examples()).shape == (3, 4)
        return
    generator = np.random.default_rng(0)
    only = hp.HeadScores(scores.grid, {name: scores.per_example[name] for name in criterion.needs})
    assert criterion.rank(only, 0.5, generator).shape == (3, 4)
    for name in criterion.needs:
        others = hp.HeadScores(scores.grid, {n: values for n, values in only.per_example.items() if n != name})
        with pytest.raises(hp.HeadPruneError, match=f"{name!r} was not computed"):
            criterion.rank(others, 0.5, generator)


@pytest.mark.slow
@every_criterion
def test_labels_are_needed_exactly_where_declared(criterion):
    bare = random_examples().remove_columns("label")
    if criterion.produced_by is not None:
        assert not criterion.needs_labels
        assert produced(criterion, bare).shape == (3, 4)
    elif criterion.needs_labels:
        with pytest.raises(hp.HeadPruneError, match="no labels"):
            hp.score_heads(hp.PrunableModel(tiny("bert")), bare, metrics=criterion.needs)
    elif criterion.needs:
        assert hp.score_heads(hp.PrunableModel(tiny("bert")), bare, metrics=criterion.needs).per_example


@every_criterion
def test_the_cost_class_is_that_of_its_scores(criterion, monkeypatch):
    assert criterion.cost in COSTS
    if criterion.produced_by is not None:
        assert criterion.cost == ("none" if criterion.name == "custom" else "many runs")
        return
    passes, backward = [], ActivationCapture.gradients
    monkeypatch.setattr(
        ActivationCapture, "gradients", lambda self, *args, **options: passes.append(1) or backward(self, *args, **options)
    )
    if criterion.needs:  # one example makes one batch
        hp.score_heads(hp.PrunableModel(tiny("bert")), random_examples().select([0]), metrics=criterion.needs)
    assert len(passes) <= 1
    assert criterion.cost == ("one backward pass" if passes else "forward passes only" if criterion.needs else "none")


@pytest.mark.slow
@every_criterion
def test_the_direction_is_what_a_mask_prunes_first(criterion, scores):
    ranking = ranked(criterion, scores)
    ((row, head),) = np.argwhere(~hp.prune_mask(ranking, 1 / 12))
    if criterion.random:
        assert criterion.direction == "random"
        assert sorted(ranking.ravel()) == list(range(12))
        return
    extreme, quantity = criterion.direction.removesuffix(", rescored after each step").removesuffix(" first").split(" ", 1)
    values = QUANTITIES[quantity](scores)
    find = {"lowest": np.argmin, "highest": np.argmax}[extreme]
    assert (row, head) == np.unravel_index(find(values), values.shape)


def test_the_documentation_table_is_up_to_date():
    path = ROOT / "assets/docs/CRITERIA.md"
    command = "python -m headprune_core.masks.criteria.table > assets/docs/CRITERIA.md"
    assert path.read_text(encoding="utf-8") == criteria_table(), f"run: {command}"
    assert criteria_table().count("\n| `") == len(ALL)
