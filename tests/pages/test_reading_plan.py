"""The plan of reading in the form of Model & data: it is right or asks, and nothing is scored before it is answered."""

import pytest
from helpers.apptest import finished, opened, said

UMLAUTS = "Satz;Klasse\r\n" + "".join(f"Schön war der Flug {i};{['positiv', 'negativ'][i % 2]}\r\n" for i in range(12))
HEADERLESS = "".join(f"flight number {i} was fine\t{['positive', 'negative'][i % 2]}\n" for i in range(12))
UNKNOWN = "premise,hypothesis,label\n" + "".join(
    f"premise {i},hypothesis {i},{['positive', 'neutral', 'contradictory'][i % 3]}\n" for i in range(12)
)


def uploaded(name: str, data: bytes):
    """The form after an upload."""
    app = opened()
    app.session_state["text_kind"] = "Upload"
    app.run()
    app.file_uploader(key="upload").set_value((name, data, "text/csv")).run()
    return finished(app)


def load_button(app):
    return next(button for button in app.button if button.label == "Load and score")


def box(app, label):
    return next(box for box in app.selectbox if box.label == label)


@pytest.mark.slow
def test_a_semicolon_table_in_an_older_encoding_is_read_and_the_guesses_are_stated():
    app = uploaded("umlaute.csv", UMLAUTS.encode("cp1252"))
    assert (box(app, "Text column").value, box(app, "Label column").value) == ("Satz", "Klasse")
    guesses = next(text.value for text in app.warning if "Guess" in text.value)
    assert "The encoding is likely cp1252" in guesses
    assert "The delimiter is the semicolon" in guesses
    assert app.dataframe[0].value["text"][0] == "Schön war der Flug 0"
    assert app.dataframe[0].value["label"].tolist()[:2] == ["positive", "negative"]
    assert box(app, "positiv (6)").value == 2  # suggested: positive begins with it
    assert not load_button(app).disabled


@pytest.mark.slow
def test_a_table_without_a_header_is_read_from_its_first_row():
    app = uploaded("plain.tsv", HEADERLESS.encode())
    assert (box(app, "Text column").value, box(app, "Label column").value) == ("column 1", "column 2")
    assert len(app.dataframe[0].value) == 5
    assert app.dataframe[0].value["text"][0] == "flight number 0 was fine"
    assert "12 of 12 rows can be used" in said(app.caption)


@pytest.mark.slow
def test_an_unknown_label_is_asked_for_before_anything_is_scored():
    app = uploaded("nli.csv", UNKNOWN.encode())
    assert box(app, "Second text column").value == "hypothesis"
    assert "1 of 3 labels are not classes of the model" in said(app.warning)
    assert load_button(app).disabled
    before = app.session_state["work"]
    assert box(app, "positive (4)").value == 2
    assert box(app, "contradictory (4)").value is None
    box(app, "contradictory (4)").set_value(-1).run()
    assert not load_button(app).disabled
    load_button(app).click().run()
    app = finished(app)
    work = app.session_state["work"]
    assert work is not before
    assert len(work.calibration) + len(work.evaluation) == 8
    assert "4 rows labeled 'contradictory' were left out" in said(app.main.markdown)
    assert {metric.label for metric in app.metric} >= {"Unpruned accuracy", "Chance level"}
    assert f"{work.check.accuracy:.1%}" in [metric.value for metric in app.metric]


@pytest.mark.slow
def test_labels_can_be_left_out_and_columns_changed():
    app = uploaded("nli.csv", UNKNOWN.encode())
    box(app, "Label column").select_index(0).run()
    box(app, "Second text column").select_index(0).run()
    assert not load_button(app).disabled
    assert list(app.dataframe[0].value.columns) == ["text"]


def test_a_format_can_be_chosen():
    app = uploaded("1.csv", b"1,5;ja wohl\n2,5;nein danke\n3,5;na gut\n")
    assert "delimiter is ambiguous: comma and semicolon" in said(app.error)
    assert load_button(app).disabled
    box(app, "Delimiter").set_value(";").run()
    assert box(app, "Text column").value == "column 2"
    assert not load_button(app).disabled


@pytest.mark.slow
def test_several_label_columns_are_asked_for():
    rows = "".join(f"some text {i},{i % 2},{i % 3}\n" for i in range(12))
    app = uploaded("two.csv", ("text,mood,source\n" + rows).encode())
    assert "several columns may contain the labels: mood, source" in said(app.warning).casefold()
    assert load_button(app).disabled
    box(app, "Text column").set_value("text").run()
    box(app, "Label column").set_value("source").run()
    assert not load_button(app).disabled
    assert box(app, "0 (4)").value == 0
