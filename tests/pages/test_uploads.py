"""An uploaded table: read once, in the background, with progress and Cancel; a table that is too large is refused."""

import threading

import pytest
from helpers.apptest import finished, opened, said

from headprune_core.data import reading_plan
from pages.parts.data import dataset_form, plan_form
from pages.parts.data.form_job import State

TABLE = "text,label\n" + "".join(f"remark {i},{'positive' if i % 2 else 'negative'}\n" for i in range(12))


@pytest.fixture(scope="module")
def app():
    return opened()


def uploaded(app, name: str, text: str):
    app.session_state["text_kind"] = "Upload"
    app.run()
    return app.file_uploader(key="upload").set_value((name, text.encode(), "text/csv")).run()


def large(names: str, second: str = "{label}") -> str:
    """A table of two columns that is larger than the page plans at once."""
    labels = ["negative", "positive"] * (plan_form.MOST_CELLS // 4 + 1)
    rows = "".join(f"remark {i},{second.format(label=label, i=i)}\n" for i, label in enumerate(labels))
    return f"{names}\n{rows}"


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
        assert [*app.session_state["read_upload"].values()] == [State.RUNNING]
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
    (before,) = app.session_state["read_upload"].values()
    app.run()
    (after,) = app.session_state["read_upload"].values()
    assert after is before


@pytest.mark.slow
def test_the_plan_of_a_large_table_is_made_by_a_job(app, monkeypatch):
    plan, threads = reading_plan._read, set()
    monkeypatch.setattr(reading_plan, "_read", lambda *given: threads.add(threading.current_thread().name) or plan(*given))
    finished(uploaded(app, "small.csv", TABLE))
    assert f"job {plan_form.PLAN_JOB}" not in threads
    threads.clear()
    finished(uploaded(app, "large.csv", large("text,label")))
    assert threads == {f"job {plan_form.PLAN_JOB}"}
    assert "10,002 of 10,002 rows can be used" in said(app.caption)
    assert not button(app, "Load and score").disabled
    threads.clear()
    app.run()
    assert not threads


@pytest.mark.slow
def test_a_large_table_without_a_clear_text_column_asks_for_it(app):
    finished(uploaded(app, "unclear.csv", large("first,second", "another remark {i}")))
    assert "No text column found in first, second" in said(app.warning)
    box = next(box for box in app.selectbox if box.label == "Text column")
    finished(box.set_value("first").run())
    assert "10,002 of 10,002 rows can be used" in said(app.caption)


@pytest.mark.slow
def test_planning_is_cancelled_and_started_again_by_its_button_only(app, monkeypatch):
    started, go_on = threading.Event(), threading.Event()
    plan = reading_plan._read

    def slow(*given):
        started.set()
        go_on.wait(60)
        return plan(*given)

    with monkeypatch.context() as patched:
        patched.setattr(reading_plan, "_read", slow)
        uploaded(app, "cancelled.csv", large("text,label"))
        while not started.wait(0.1):
            app.run()
        button(app, "Cancel").click().run()
        go_on.set()
        finished(app)
    app.run()
    assert f"{plan_form.PLAN_JOB} was cancelled." in said(app.caption)
    assert button(app, "Load and score").disabled
    button(app, "Make plan").click().run()
    finished(app)
    assert "10,002 of 10,002 rows can be used" in said(app.caption)


@pytest.mark.slow
def test_more_labels_than_can_be_assigned_are_an_error_that_names_the_column(app):
    rows = "".join(f"remark {i},{i}\n" for i in range(plan_form.MOST_LABELS + 1))
    finished(uploaded(app, "numbers.csv", f"text,label\n{rows}"))
    assert "Column label has 31 distinct labels, which the model does not have." in said(app.error)
    assert button(app, "Load and score").disabled
