"""The attention view light and dark, on a screen and a phone: it fits, and axe-core finds no serious violation."""

import os

import pytest
from playwright.sync_api import expect

import headprune_core as hp
from tests.browser.test_accessibility import violations

from .conftest import button, made_up, token

SHOTS = os.environ.get("HEADPRUNE_SCREENSHOTS")  # a folder to put pictures in, for eyes
SENTENCE = "The flight was late, but the crew was wonderful."


@pytest.fixture(scope="module")
def real(embedded_model):
    return hp.text_attention(embedded_model, SENTENCE, heads=[(3, 5), (4, 9), (1, 2), (5, "mean")])


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_without_violations(open_view, real, scheme, width):
    with open_view(real, width=width, color_scheme=scheme) as tab:
        for mode in ("Lines", "Matrix"):
            button(tab, mode).click()
            if mode == "Lines":
                token(tab, "query", 3).click()
                token(tab, "key", 4).hover()
            assert tab.evaluate("document.documentElement.scrollWidth") <= width
            assert violations(tab) == []
            if SHOTS:
                tab.screenshot(path=f"{SHOTS}/attention-{scheme}-{width}-{mode}.png", full_page=True)


def test_the_colors_follow_the_reader(open_view, real):
    with open_view(real) as tab:
        styles = "root => [getComputedStyle(root).backgroundColor, getComputedStyle(root.querySelector('.av-swatch')).color]"
        light = tab.locator(".av").evaluate(styles)
        colors = "all => all.map(i => getComputedStyle(i).backgroundColor)"
        heads = tab.locator(".av-panel .av-swatch").evaluate_all(colors)
        tab.emulate_media(color_scheme="dark")
        expect(tab.locator(".av")).not_to_have_css("background-color", "rgb(255, 255, 255)")
        assert tab.locator(".av").evaluate(styles) != light
        assert not set(heads) & set(tab.locator(".av-panel .av-swatch").evaluate_all(colors))


def test_maximize_fills_the_window_and_escape_restores(open_view, real):
    with open_view(real) as tab:
        before = tab.locator(".av").bounding_box()
        button(tab, "Maximize").click()
        assert tab.locator(".av").bounding_box() == {"x": 0, "y": 0, "width": 1280, "height": 900}
        token(tab, "query", 2).click()
        tab.keyboard.press("Escape")  # unpins
        assert tab.locator(".av").bounding_box()["height"] == 900
        tab.keyboard.press("Escape")
        tab.mouse.move(1270, 890)
        assert tab.locator(".av").bounding_box() == before


def test_tokens_as_text_or_as_the_tokenizer_has_them(open_view):
    found = made_up(["a", "b"])
    tokens = found.queries.__class__((0, 1), ("Ġa", "##b"), (" a", "b"), (True, False), (0, 1))
    with open_view(found.__class__(**vars(found) | {"queries": tokens, "keys": tokens})) as tab:
        assert token(tab, "query", 0).inner_text() == "a"
        button(tab, "Tokens").click()
        assert [token(tab, "query", i).inner_text() for i in (0, 1)] == ["Ġa", "##b"]
        assert token(tab, "query", 0).locator(".av-text").evaluate("t => getComputedStyle(t).fontStyle") == "italic"
        assert "second text of the pair" in tab.locator(".av-note").inner_text()


def test_notes_are_shown(open_view):
    found = made_up(["[CLS]", "[SEP]"], special=(0, 1))
    longer = found.__class__(**vars(found) | {"full_length": 900})
    with open_view(longer) as tab:
        assert tab.locator(".av-note").all_inner_texts() == [
            "The text has 900 tokens and was truncated to the first 2.",
            "The text consists of special tokens only.",
        ]
