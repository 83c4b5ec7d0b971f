"""An uploaded table: read once, in the background, with progress and Cancel; a table that is too large is refused."""

import pytest
from helpers.apptest import finished, opened, said

from headprune_core.data import reading_plan
from pages.parts.data import dataset_form

TABLE = "text,label\n" + "".join(f"remark {i},{'positive' if i % 2 else 'negative'}\n" for i in range(12))


@pytest.fixture(scope="module")
def app():
    return opened()


def uploaded(app, name: str, text: str):
    app.session_state["text_kind"] = "Upload"
    app.run()
    return app.file_uploader(key="upload").set_value((name, text.encode(), "text/csv")).run()


def button(app, label):
    return next((button for button in app.button if button.label == label), None)


@pytest.mark.slow
def test_an_upload_is_read_and_planned_once_and_not_whenever_the_page_is_drawn(app, monkeypatch):
    reads, plans = [], []
    read, plan = dataset_form.read_source, reading_plan._read
    monkeypatch.setattr(dataset_form, "read_source", lambda *given, **more: reads.append(1) or read(*given, **more))
    monkeypatch.setattr(reading_plan, "_read", lambda *given: plans.append(1) or plan(*given))
    finished(uploaded(app, "once.csv", TABLE))
    assert "12 of 12 rows can be used" in said(app.caption)
    counts = len(reads), len(plans)
    assert counts[0] == 1
    app.run()
    app.switch_page("pages/views/head_scores.py").run()
    app.switch_page("pages/views/model_and_data.py").run()
    assert "12 of 12 rows can be used" in said(app.caption)
    assert (len(reads), len(plans)) == counts


@pytest.mark.slow
def test_reading_is_cancelled_and_started_again_by_its_button_only(app, monkeypatch):
    def endless(*given, progress, **more):
        done = 0
        while True:
            done = (done + 1) % 100
            progress(done, 100, "Reading rows")

    with monkeypatch.context() as patched:
        patched.setattr(dataset_form, "read_source", endless)
        uploaded(app, "long.csv", TABLE)
        assert app.session_state["read_upload"][1] is dataset_form.Reading.RUNNING
        assert "12 of 12 rows" not in said(app.caption)
        assert button(app, "Load and score").disabled
        button(app, "Cancel").click().run()
        finished(app)
    app.run()
    assert "Reading the file was cancelled." in said(app.caption)
    assert not app.error
    button(app, "Read file").click().run()
    finished(app)
    assert "12 of 12 rows can be used" in said(app.caption)
    assert not button(app, "Load and score").disabled


@pytest.mark.slow
def test_a_table_that_is_too_large_for_the_app_is_refused_in_a_sentence(app):
    finished(uploaded(app, "wide.csv", "text" + ",c" * 5_000 + "\n"))
    assert "wide.csv: it has 5,001 columns, at most 1,000 can be read" in said(app.error)
    assert "Python or the command line" in said(app.error)
    assert button(app, "Load and score").disabled
    before = app.session_state["read_upload"]
    app.run()
    assert app.session_state["read_upload"] is before
