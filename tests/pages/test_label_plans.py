"""Label sets, tags of words and Hub datasets in the form of Model & data: shown, mapped, loaded and scored."""

import datasets
import numpy as np
import pandas as pd
import pytest
from helpers.apptest import finished, opened, said
from helpers.tasks import NAMES, TAGS, tiny_task
from helpers.tiny_models import tiny_tokenizer

import headprune_core as hp
from headprune_core.cli.inputs import plan_settings
from headprune_core.cli.main import COMMANDS
from headprune_core.cli.parser import parser
from headprune_core.data import source_tables
from headprune_core.data.model_labels import ModelLabels
from pages.parts.common.as_code import _plan_options

LABELS = tuple(NAMES["id2label"].values())

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    words = [[f"w{i}" for i in rng.integers(5, 90, n)] for n in rng.integers(3, 9, 24)]
    sets = [[name for name in LABELS if rng.random() < 0.4] or ["joy"] for _ in words]
    return words, sets, [rng.choice(TAGS, len(row)).tolist() for row in words]


def form(task, folder):
    """The form with a model of a task in a folder."""
    model = tiny_task(task)
    if task == "multi_label":
        model.config.id2label = NAMES["id2label"]
    hp.PrunableModel(model, tiny_tokenizer(model_max_length=60)).save_pretrained(folder)
    app = opened()
    app.session_state["model_kind"] = "Local folder"
    app.session_state["folder"] = str(folder)
    return app


def uploaded(app, name, data):
    app.session_state["text_kind"] = "Upload"
    app.run()
    app.file_uploader(key="upload").set_value((name, data, "text/plain")).run()
    return finished(app)


def box(app, label):
    return next(box for box in app.selectbox if box.label.replace("\\", "") == label)


def button(app, label):
    return next(button for button in app.button if button.label == label)


def loaded(app):
    button(app, "Load and score").click().run()
    app = finished(app)
    assert {metric.label for metric in app.metric} >= {"Unpruned accuracy", "Chance level"}
    return app, app.session_state["work"]


def test_label_sets_with_an_unknown_label(rows, tmp_path):
    words, sets, _ = rows
    text = [" ".join(row) for row in words]
    table = pd.DataFrame({"text": text, "labels": [[*names, "hope"] if i < 5 else names for i, names in enumerate(sets)]})
    app = uploaded(form("multi_label", tmp_path / "m"), "sets.csv", table.to_csv(index=False).encode())
    assert app.multiselect[0].value == ["labels"]
    assert "1 of 5 labels are not classes of the model" in said(app.warning)
    assert button(app, "Load and score").disabled
    box(app, "hope (5)").set_value(-1).run()
    assert "hope → dropped from the sets (5)" in said(app.caption)
    assert app.dataframe[0].value["label"][0] == ", ".join(sets[0])
    app, work = loaded(app)
    for part in (work.calibration, work.evaluation):
        for row in part:
            assert [LABELS[number] for number in row["label"]] == sets[text.index(row["text"])]
    assert (
        work.check.accuracy
        == hp.evaluate_masks(work.model, work.evaluation, np.ones((1, *work.model.grid.shape), bool)).accuracy[0]
    )
    assert "hope → dropped from the sets (5)" in said(app.main.markdown)
    assert app.dataframe[1].value["label"][0] == work.label_names(None)[0]


def test_one_column_for_each_label(rows, tmp_path):
    words, sets, _ = rows
    columns = {name: [int(name in names) for names in sets] for name in LABELS}
    table = pd.DataFrame({"text": [" ".join(row) for row in words]} | columns)
    app = uploaded(form("multi_label", tmp_path / "m"), "columns.csv", table.to_csv(index=False).encode())
    assert app.multiselect[0].value == list(LABELS)
    assert app.dataframe[0].value["label"].to_list() == [", ".join(names) for names in sets[:5]]
    app.multiselect[0].set_value(["joy", "fear"]).run()
    assert "labels in 'joy', 'fear' (zeros and ones)" in said(app.caption)
    app.multiselect[0].set_value([]).run()
    assert "no labels" in said(app.caption)
    assert not button(app, "Load and score").disabled


def test_words_with_tags(rows, tmp_path):
    words, _, tags = rows
    lines = ("\n".join(map("\t".join, zip(*row, strict=True))) for row in zip(words, tags, strict=True))
    app = uploaded(form("token_classification", tmp_path / "m"), "t.conll", "\n\n".join(lines).encode())
    assert (box(app, "Text column").value, box(app, "Label column").value) == ("tokens", "tags")
    tagged = [" ".join(f"{w}/{t}" for w, t in zip(*row, strict=True)) for row in zip(words, tags, strict=True)]
    assert app.dataframe[0].value["words"].to_list() == tagged[:5]
    count = sum(row.count("B-LOC") for row in tags)
    box(app, f"B-LOC ({count})").set_value(-1).run()
    assert f"B-LOC → no target ({count})" in said(app.caption)
    app, work = loaded(app)
    row = work.calibration[0]
    expected = [-100 if tag == "B-LOC" else TAGS.index(tag) for tag in tags[words.index(row["tokens"])]]
    assert row["tags"] == expected
    assert app.dataframe[1].value["words"][0] == " ".join(
        word if tag < 0 else f"{word}/{TAGS[tag]}" for word, tag in zip(row["tokens"], row["tags"], strict=True)
    )


def test_tag_numbers_are_asked_for(rows, tmp_path):
    words, _, tags = rows
    table = pd.DataFrame({"tokens": words, "ner_tags": [[TAGS.index(tag) for tag in row] for row in tags]})
    app = form("token_classification", tmp_path / "m")
    app = uploaded(app, "t.jsonl", table.to_json(orient="records", lines=True).encode())
    assert "The labels are numbers, but the classes of the model have names" in said(app.warning)
    assert button(app, "Load and score").disabled
    app.checkbox[0].check().run()
    assert "Tags of words, class numbers counted from 0: 0 → O (" in said(app.caption)
    tagged = [" ".join(f"{w}/{t}" for w, t in zip(*row, strict=True)) for row in zip(words, tags, strict=True)]
    assert app.dataframe[0].value["words"].to_list() == tagged[:5]
    assert not button(app, "Load and score").disabled


def test_a_hub_dataset_is_read_planned_and_loaded(rows, tmp_path, monkeypatch):
    """The address of the dataset leads to a local folder, which is read by the same functions, without the network."""
    words, sets, _ = rows
    place = tmp_path / "emotions"
    place.mkdir()
    text = [" ".join(row) for row in words]
    table = pd.DataFrame({"text": text, "labels": sets})
    for split, part in (("train", table[:12]), ("test", table[12:])):
        datasets.Dataset.from_pandas(part, preserve_index=False).to_parquet(place / f"{split}.parquet")
    monkeypatch.setattr(source_tables, "hub_address", {"someone/emotions": str(place)}.get)
    monkeypatch.setattr(source_tables, "check_hub_files", lambda name, builder: None)
    app = form("multi_label", tmp_path / "m")
    app.session_state["text_kind"] = "Hub dataset"
    app.session_state["hub_text"] = "someone/emotions"
    app.session_state["hub_evaluation"] = "test"
    app.run()
    assert button(app, "Load and score").disabled
    button(app, "Read dataset").click().run()
    app = finished(app)
    assert "someone/emotions: 12 of 12 rows can be used (hub)" in said(app.caption)
    assert app.dataframe[0].value["label"][0] == ", ".join(sets[0])
    app, work = loaded(app)
    assert (len(work.calibration), len(work.evaluation)) == (12, 12)
    assert set(work.evaluation["text"]) == set(text[12:])
    for row in work.evaluation:
        assert [LABELS[number] for number in row["label"]] == sets[text.index(row["text"])]
    assert work.plan.split == "train"


def test_a_copied_command_reads_in_the_same_way(rows, tmp_path):
    words, sets, tags = rows
    text = [" ".join(row) for row in words]
    columns = {name: [int(name in names) for names in sets] for name in LABELS}
    lines = ("\n".join(map("\t".join, zip(*row, strict=True))) for row in zip(words, tags, strict=True))
    (tmp_path / "words.tsv").write_text("\n\n".join(lines).replace("-", ""))
    sets_model, tagger = ModelLabels("multi_label", LABELS), ModelLabels("token_classification", TAGS)
    merged = {tag.replace("-", ""): number for number, tag in enumerate(TAGS) if number} | {"BPER": None}
    for source, model, mapping in (
        (pd.DataFrame({"text": text} | columns), sets_model, {"joy": None}),
        (pd.DataFrame({"text": text, "labels": [", ".join(names) for names in sets]}), sets_model, None),
        (tmp_path / "words.tsv", tagger, merged),
        (
            pd.DataFrame({"text": text, "labels": [[LABELS.index(n) for n in names] for names in sets]}),
            sets_model,
            "numbers",
        ),
    ):
        plan = hp.plan_examples(source, model=model, label_mapping=mapping)
        options = parser(COMMANDS).parse_args(["score", *_plan_options(plan)])
        assert hp.plan_examples(source, model=model, **plan_settings(options)).usable.table.equals(plan.usable.table)
