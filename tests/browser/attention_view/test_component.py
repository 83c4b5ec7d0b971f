"""The attention view as a Streamlit component: what is pinned reaches Python and stays after a rerun; its colors."""

import pytest
from playwright.sync_api import expect

from pages.parts import attention_view
from pages.parts.attention_view import PinnedTokens, pinned_tokens
from tests.browser.conftest import opened_tab, running_server
from tests.browser.page_actions import at_rest

from .conftest import button, token, words

DOCUMENT = {"queries": {"tokens": ["a", "b", "c"]}, "keys": {"tokens": ["a", "b"]}}


@pytest.fixture(scope="module")
def address(browser):
    with running_server("tests/browser/apps/attention_app.py") as address:
        yield address


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pinned_tokens_reach_python_and_stay(browser, address, scheme):
    with opened_tab(browser, color_scheme=scheme) as tab:
        tab.goto(address)
        main = tab.get_by_test_id("stMain")
        expect(main).to_contain_text("Pinned 0 times: None")
        at_rest(tab)
        token(tab, "query", 4).click()
        expect(main).to_contain_text("Pinned 1 times: PinnedTokens(side='query', start=4, stop=5)")
        at_rest(tab)
        assert words(tab) == "“late” (token 5 of 13) attends to:"
        colors = "element => [getComputedStyle(element).backgroundColor, getComputedStyle(element).color]"
        assert tab.locator(".av").evaluate(colors) == tab.get_by_test_id("stApp").evaluate(colors)
        assert tab.locator(".av").evaluate("root => root.style.colorScheme") == scheme
        with tab.expect_download() as download:
            button(tab, "Download as HTML").click()
        assert "late" in download.value.path().read_text("utf-8")
        tab.get_by_label("Sentence").fill("Another sentence.")
        tab.keyboard.press("Enter")
        expect(main).to_contain_text("Pinned 1 times")
        expect(token(tab, "query", 1)).to_have_text("another")
        tab.set_viewport_size({"width": 390, "height": 900})
        at_rest(tab)
        assert tab.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ({"side": "query", "start": 0, "stop": 3}, PinnedTokens("query", 0, 3)),
        ({"side": "key", "start": 1, "stop": 2}, PinnedTokens("key", 1, 2)),
        ({"side": "key", "start": 1, "stop": 3}, None),  # of another text
        ({"side": "key", "start": 1, "stop": 1}, None),
        ({"side": "key", "start": -1, "stop": 1}, None),
        ({"side": "key", "start": "0", "stop": 1}, None),
        ({"side": "key", "start": True, "stop": 2}, None),
        ({"side": "head", "start": 0, "stop": 1}, None),
        ({"side": ["key"], "start": 0, "stop": 1}, None),
        ({"start": 0}, None),
        ("text", None),
        (None, None),
    ],
)
def test_messages_of_the_browser_are_checked(monkeypatch, sent, expected):
    monkeypatch.setattr(attention_view.st, "session_state", {"k": {"pinned": sent}})
    assert pinned_tokens("k", DOCUMENT) == expected


def test_nothing_is_pinned_before_the_first_message(monkeypatch):
    monkeypatch.setattr(attention_view.st, "session_state", {})
    assert pinned_tokens("k", DOCUMENT) is None
