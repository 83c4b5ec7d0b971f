"""Random label sets and tags in files of every form are read back equal, left out with a reason, or refused."""

import io

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import headprune_core as hp
from headprune_core.data.model_labels import ModelLabels
from headprune_core.data.reading_plan import plan_examples

HARD = "ab0-_'\",;|#[]\\é."
NAMES = st.lists(
    st.text(HARD, min_size=1, max_size=5), min_size=2, max_size=5, unique_by=lambda name: name.replace("_", "-").casefold()
)


def written(table: pd.DataFrame, kind: str):
    """A file as its program writes it."""
    file = io.BytesIO()
    if kind == "jsonl":
        file.write(table.to_json(orient="records", lines=True).encode())
    elif kind == "parquet":
        table.to_parquet(file := io.BytesIO())
    elif kind == "csv":
        file.write(table.to_csv(index=False).encode())
    else:
        rows = zip(table.tokens, table.tags, strict=True)
        lines = ("\n".join(map(("\t" if kind == "conll" else " ").join, zip(*row, strict=True))) for row in rows)
        file.write("\n\n".join(lines).encode())
    file.name = f"t.{'conll' if kind == 'spaces' else kind}"
    file.seek(0)
    return file


def plan_or_none(table, kind, model):
    try:
        return plan_examples(written(table, kind), model=model)
    except hp.HeadPruneError:
        return None


@pytest.mark.slow
@settings(max_examples=35)
@given(names=NAMES, kind=st.sampled_from(["jsonl", "parquet", "csv"]), vectors=st.booleans(), data=st.data())
def test_label_sets(names, kind, vectors, data):
    sets = data.draw(st.lists(st.sets(st.sampled_from(names)), min_size=1, max_size=6))
    labels = [[int(name in one) for name in names] if vectors else sorted(one) for one in sets]
    table = pd.DataFrame({"text": [f"a text {i}" for i in range(len(sets))], "labels": labels})
    plan = plan_or_none(table, kind, ModelLabels("multi_label", tuple(names)))
    if plan is None:
        return
    assert plan.n_examples + sum(part.count for part in plan.left_out) == len(sets)
    for text, numbers in zip(plan.rows.text, plan.rows.label, strict=True):
        assert {names[number] for number in numbers} == sets[int(text.rsplit(" ", 1)[1])]


@pytest.mark.slow
@settings(max_examples=35)
@given(names=NAMES, separator=st.sampled_from([",", ";", "|", ", "]), data=st.data())
def test_names_between_separators(names, separator, data):
    sets = data.draw(st.lists(st.sets(st.sampled_from(names), min_size=1), min_size=1, max_size=4))
    cells = [separator.join(sorted(one)) for one in sets]
    table = pd.DataFrame({"text": [f"a text {i}" for i in range(len(sets))], "labels": cells})
    plan = plan_or_none(table, "csv", ModelLabels("multi_label", tuple(names)))
    if plan is None or plan.label_kind is None:  # "-" alone marks a row without labels
        return
    for text, numbers in zip(plan.rows.text, plan.rows.label, strict=True):
        assert {names[number] for number in numbers} == sets[int(text.rsplit(" ", 1)[1])]


@pytest.mark.slow
@settings(max_examples=35)
@given(names=NAMES, kind=st.sampled_from(["jsonl", "parquet", "csv", "conll", "spaces"]), data=st.data())
def test_tags(names, kind, data):
    pair = st.tuples(st.text(HARD, min_size=1, max_size=4), st.sampled_from(names))
    sentences = data.draw(st.lists(st.lists(pair, min_size=1, max_size=5), min_size=1, max_size=6))
    words, tags = ([[one[i] for one in row] for row in sentences] for i in (0, 1))
    table = pd.DataFrame({"tokens": words, "tags": tags})
    plan = plan_or_none(table, kind, ModelLabels("token_classification", tuple(names)))
    if plan is None:
        return
    starts = {1 + sum(len(row) + 1 for row in sentences[:i]): i for i in range(len(sentences))}
    assert plan.n_examples + sum(part.count for part in plan.left_out) == len(sentences)
    for row, tokens, numbers in zip(plan.rows.row, plan.rows.tokens, plan.rows.tags, strict=True):
        at = starts[row] if kind in ("conll", "spaces") else row - (2 if kind == "csv" else 1)
        assert (list(tokens), [names[number] for number in numbers]) == (words[at], tags[at])


def test_most_files_are_read():
    """The properties above would hold for a reader that refuses everything."""
    names, sets = ("joy", "fear"), [["joy"], [], ["joy", "fear"]]
    table = pd.DataFrame({"text": ["a b", "c d", "e f"], "labels": sets})
    for kind in ("jsonl", "parquet", "csv"):
        assert plan_or_none(table, kind, ModelLabels("multi_label", names)).n_examples == 3
    table = pd.DataFrame({"tokens": [["a", "b"], ["c"]], "tags": [["joy", "fear"], ["joy"]]})
    for kind in ("jsonl", "parquet", "csv", "conll", "spaces"):
        assert plan_or_none(table, kind, ModelLabels("token_classification", names)).n_examples == 2
