"""Text from links, models, files and errors is text on every page: never Markdown, HTML, an icon, a color or a formula."""

import re

import pandas as pd
import pytest
from helpers.apptest import ROOT, finished, opened
from helpers.tiny_models import tiny, tiny_tokenizer
from streamlit.testing.v1 import AppTest

from headprune_core import HeadPruneError, plan_examples
from headprune_core.cli.hosting import Hosting
from pages.parts.common.labels import PAGES
from pages.parts.common.sentences import plain
from pages.parts.common.server_cache import ServerState
from pages.parts.common.workspace import Request, load

HOSTILE = [
    "![i](http://evil.test/x)",
    "[win](http://evil.test)",
    "<img src=x onerror=alert(1)>",
    "<script>alert(1)</script>",
    "$\\alpha$ x$",
    ":material/delete:",
    ":red[r]",
    ":smile:",
    "**b** _i_ `c` ~~s~~",
    "www.evil.test",
    "a@evil.test",
    "https://evil.test/y",
    "# h",
    "- l",
    "1. n",
    "> q",
    "    code",
    "x\n\n# h\n===\n\n- l",
    "| a | b |\n|---|---|\n| c | d |",
    "[^1]",
    "&lt;b&gt;",
]
MARK = "![i](http://evil.test/x)<b>$m$ :material/delete: :red[r] [w](http://evil.test)"
IN_PATH = MARK.replace("/", "!")


@pytest.mark.parametrize("text", HOSTILE)
def test_plain_text_has_no_markup(text):
    shown = plain(text)
    assert "\n" not in shown
    assert not any(sign in shown.replace(f"\\{sign}", "") for sign in "`*_[]<>$|#~")
    assert "www." not in shown
    assert not re.search(r":[\w+/-]+\\?:", shown)
    assert "://" not in shown
    assert shown.replace("\\", "").replace("\u2060", "").split() == text.replace("\\", "").split()


def with_markup(node) -> list[str]:
    """Every string that Streamlit reads as Markdown on the page: all texts but those of tables, figures and code."""
    found = []
    for element in node:
        proto = getattr(element, "proto", None)
        if element.type in ("dataframe", "plotly_chart", "code", "text_input", "text_area", "html"):
            found += [getattr(proto, name, "") for name in ("label", "help")]
            continue
        for name in ("body", "label", "help", "text", "caption", "delta", "placeholder"):
            value = getattr(proto, name, None)
            found += [value] if isinstance(value, str) else []
        value = getattr(element, "value", None)
        found += value.astype(str).to_numpy().ravel().tolist() if isinstance(value, pd.DataFrame) else []
        found += [text for text in (value, getattr(element, "label", None)) if isinstance(text, str)]
    return found


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A model whose folder and classes, and a dataset whose file, columns, labels and texts have names with markup."""
    folder = tmp_path_factory.mktemp("m") / IN_PATH
    model = tiny("bert")
    model.config.id2label = {i: f"{MARK} {i}" for i in range(model.config.num_labels)}
    model.config.label2id = {name: i for i, name in model.config.id2label.items()}
    model.save_pretrained(folder)
    tiny_tokenizer(model_max_length=20).save_pretrained(folder)
    n = model.config.num_labels
    texts = [f"w{i} {MARK}" for i in range(24)]
    table = pd.DataFrame({"text": texts, f"label {MARK}": [f"{MARK} {i % n}" for i in range(24)]})
    plan = plan_examples(table, label_column=f"label {MARK}")
    request = Request(str(folder), text=f"{IN_PATH}.csv", plan=plan, is_folder=True)
    work = load(request, ServerState(), lambda *_: None)
    assert work.labelled
    return work


@pytest.mark.slow
@pytest.mark.parametrize("view", PAGES)
def test_names_of_models_and_data_are_text_on_every_page(hostile, view):
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=300)
    app.session_state["work"] = hostile
    app.query_params["alpha"] = MARK
    app.query_params["heads"] = "0.0"
    app.query_params[MARK] = "x"
    app.run()
    toasts = [toast.value for toast in app.toast]
    if view != "model_and_data":
        app.switch_page(PAGES[view].script).run()
    assert not app.exception
    for text in (*toasts, *with_markup(app.main), *with_markup(app.sidebar)):
        for live in ("![i](", "<b>", "$m$", ":material/delete:", ":red[", "[w](", "://evil"):
            assert live not in text, f"{live} is live in {text!r}"
    assert any("evil" in text for text in with_markup(app.sidebar))


@pytest.mark.slow
def test_errors_of_jobs_are_text_in_the_form_and_in_the_toast():
    app = opened()
    app.session_state["model_kind"] = "Local folder"
    app.session_state["folder"] = f"/nowhere/{IN_PATH}"
    app.run()
    next(button for button in app.button if button.label == "Load and score").click().run()
    app = finished(app)
    shown = [error.value for error in app.error]
    assert any("evil" in text for text in shown)
    app.switch_page(PAGES["alpha"].script).run()
    shown += [toast.value for toast in app.toast]
    for text in shown:
        assert not any(live in text for live in ("![i](", "<b>", "$m$", ":red[", "[w]("))


def test_a_refused_value_is_quoted_as_text():
    with pytest.raises(HeadPruneError) as error:
        Hosting().check_dataset(MARK)
    assert "![i](" not in plain(str(error.value))
