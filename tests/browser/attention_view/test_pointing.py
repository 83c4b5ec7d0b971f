"""Pointing, pinning and spans in the attention view, by mouse, keyboard and touch; all numbers against NumPy."""

import numpy as np
import pytest
from playwright.sync_api import expect

from headprune_core.inspection.attention_html import attention_html

from .conftest import button, carried, count_line, integers, made_up, numbers, percent, token, value_line, words

TEXTS = ["The", " flight", " was", " late", ",", " but", " the", " crew", " was", " wonderful", ".", " really", "!"]


@pytest.fixture(scope="module")
def found():
    return made_up(TEXTS, heads=2)


def shown(sums):
    """What the column beside the focus shows."""
    return {i: percent(value) if value > 0 else "" for i, value in enumerate(sums / 65535)}


def strongest(sums, texts=TEXTS) -> str:
    order = [i for i in np.argsort(-sums, kind="stable") if sums[i] > 0]
    listed = " · ".join(f"{texts[i].strip()} {percent(sums[i] / 65535)}" for i in order[:5])
    return listed + (f" (5 strongest of {len(order)})" if len(order) > 5 else "")


def test_the_overview_counts_all_links(open_view):
    found = made_up([f"t{i}" for i in range(48)], heads=2)
    with open_view(found) as tab:
        for panel, values in enumerate(integers(found)):
            top = np.sort(values.ravel())[::-1][:150].sum() / values.sum()
            all_links = f"{(values > 0).sum():,}"
            assert count_line(tab, panel) == f"150 of {all_links} links drawn; they carry {carried(top)} of the attention."
        assert tab.evaluate("strokes") <= 150
        assert words(tab).startswith("Point at a query")


def test_all_of_a_few_links_are_drawn(open_view):
    few = made_up(TEXTS[:5])
    with open_view(few) as tab:
        links = int((integers(few) > 0).sum())
        assert count_line(tab) == f"All {links} links are drawn."
        assert tab.evaluate("strokes") == links


@pytest.mark.parametrize(("side", "other"), [("query", "key"), ("key", "query")])
def test_pointing_shows_the_links_of_one_token_in_both_directions(open_view, found, side, other):
    with open_view(found) as tab:
        token(tab, side, 3).hover()
        for panel, values in enumerate(integers(found)):
            sums = values[3] if side == "query" else values[:, 3]
            assert numbers(tab, other, panel) == shown(sums)
            assert set(numbers(tab, side, panel).values()) == {""}
            assert value_line(tab, panel) == strongest(sums)
            links = int((sums > 0).sum())
            assert count_line(tab, panel) == f"All {links} links are drawn."
        assert tab.evaluate("strokes") == links  # of the panel that was drawn last
        does = "attends to" if side == "query" else "is attended to by"
        assert words(tab) == f"“late” (token 4 of 13) {does}:"
        tab.mouse.move(5, 5)
        assert words(tab).startswith("Point at a query")
        assert set(numbers(tab, other).values()) == {""}


def test_weighted_attention_is_a_choice(open_view, found):
    with open_view(found) as tab:
        button(tab, "Value-weighted").click()
        token(tab, "query", 9).hover()
        assert numbers(tab, "key") == shown(integers(found, "weighted")[0, 9])
        assert numbers(tab, "key") != shown(integers(found)[0, 9])


def test_a_click_pins_and_escape_unpins(open_view, found):
    with open_view(found) as tab:
        token(tab, "query", 1).click()
        tab.mouse.move(5, 5)
        assert words(tab) == "“flight” (token 2 of 13) attends to:"
        expect(token(tab, "query", 1)).to_have_attribute("aria-selected", "true")
        token(tab, "key", 4).hover()  # one pair in words; the pinned links stay
        assert words(tab) == "“flight” (token 2 of 13) attends to “,” (token 5):"
        assert value_line(tab) == percent(integers(found)[0, 1, 4] / 65535)
        assert numbers(tab, "key") == shown(integers(found)[0, 1])
        token(tab, "query", 6).hover()
        assert numbers(tab, "key") == shown(integers(found)[0, 1])
        tab.keyboard.press("Escape")
        assert numbers(tab, "key") == shown(integers(found)[0, 6])  # the token under the pointer
        token(tab, "key", 2).click()
        expect(button(tab, "Attended to by")).to_have_attribute("aria-pressed", "true")
        token(tab, "key", 2).click()  # a second click unpins
        tab.mouse.move(5, 5)
        assert words(tab).startswith("Point at a query")


def test_the_direction_turns_the_pinned_token(open_view, found):
    with open_view(found) as tab:
        token(tab, "query", 7).click()
        button(tab, "Attended to by").click()
        assert words(tab) == "“crew” (token 8 of 13) is attended to by:"
        assert numbers(tab, "query") == shown(integers(found)[0, :, 7])


@pytest.mark.parametrize(("side", "other"), [("query", "key"), ("key", "query")])
def test_dragging_sums_a_span(open_view, found, side, other):
    with open_view(found) as tab:
        token(tab, side, 5).hover()
        tab.mouse.down()
        token(tab, side, 4).hover()
        token(tab, side, 2).hover()
        tab.mouse.up()
        tab.mouse.move(5, 5)
        values = integers(found)[0]
        part = values[2:6] if side == "query" else values[:, 2:6]
        sums = part.sum(0 if side == "query" else 1)
        assert numbers(tab, other) == shown(sums)
        assert value_line(tab) == strongest(sums)
        assert words(tab).startswith("Tokens 3 to 6 of 13 (“was late, but”; sum of 4 tokens)")
        count, top = (part > 0).sum(), np.sort(part.ravel())[::-1][:150]
        assert count_line(tab) == f"All {count} links are drawn."
        assert len(top[top > 0]) == count
        assert tab.locator(f".av-{side}").first.locator("[aria-selected='true']").count() == 4


def test_everything_by_keyboard(open_view, found):
    with open_view(found) as tab:
        values = integers(found)[0]
        column = tab.locator(".av-query").first
        column.locator("[tabindex='0']").focus()
        tab.keyboard.press("ArrowDown")
        tab.keyboard.press("ArrowDown")
        expect(token(tab, "query", 2)).to_be_focused()
        assert column.locator("[tabindex='0']").count() == 1
        assert numbers(tab, "key") == shown(values[2])
        spoken = tab.get_by_role("status")
        expect(spoken).to_have_text(
            f"“was” (token 3 of 13) attends to: Layer 0, head 1: {strongest(values[2])}. "
            f"Layer 1, head 2: {strongest(integers(found)[1, 2])}."
        )
        tab.keyboard.press("End")
        expect(token(tab, "query", 12)).to_be_focused()
        tab.keyboard.press("Home")
        expect(token(tab, "query", 0)).to_be_focused()
        tab.keyboard.press("Enter")
        tab.keyboard.press("ArrowRight")  # to the keys: each pair with the pinned token is said
        expect(token(tab, "key", 0)).to_be_focused()
        tab.keyboard.press("ArrowDown")
        expect(spoken).to_contain_text(f"“flight” (token 2): Layer 0, head 1: {percent(values[0, 1] / 65535)}.")
        tab.keyboard.press("ArrowLeft")
        tab.keyboard.press("Escape")
        expect(column.locator("[aria-selected='true']")).to_have_count(0)
        token(tab, "query", 4).focus()
        tab.keyboard.press("Home")
        for _ in range(3):
            tab.keyboard.press("Shift+ArrowDown")
        tab.keyboard.press("Shift+ArrowUp")
        assert numbers(tab, "key") == shown(values[:3].sum(0))
        assert column.locator("[aria-selected='true']").count() == 3


def test_touch_pins_and_selects_spans(browser, found, tmp_path):
    file = tmp_path / "touch.html"
    file.write_text(attention_html(found.document()), encoding="utf-8")
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    tab = context.new_page()
    tab.goto(file.as_uri())
    values = integers(found)[0]
    token(tab, "query", 3).tap()
    expect(tab.locator(".av-words")).to_have_text("“late” (token 4 of 13) attends to:")
    assert numbers(tab, "key") == shown(values[3])
    button(tab, "Select span").tap()
    token(tab, "query", 5).tap()
    assert numbers(tab, "key") == shown(values[3:6].sum(0))
    assert tab.evaluate("document.documentElement.scrollWidth") == 390
    context.close()


def test_heads_side_by_side_up_to_four(open_view):
    found = made_up(TEXTS, heads=6)
    with open_view(found) as tab:
        assert tab.locator(".av-panel figcaption").all_inner_texts() == list(found.labels[:4])
        colors = tab.locator(".av-panel .av-swatch").evaluate_all("all => all.map(i => getComputedStyle(i).backgroundColor)")
        assert len(set(colors)) == 4
        button(tab, "Layer 5, head 6").click()  # replaces the one that was chosen first
        assert tab.locator(".av-panel figcaption").all_inner_texts() == [*found.labels[1:4], found.labels[5]]
        for label in found.labels[1:4]:
            button(tab, label).click()
        button(tab, found.labels[5]).click()  # one head always remains
        assert tab.locator(".av-panel figcaption").all_inner_texts() == [found.labels[5]]
        token(tab, "query", 0).hover()
        assert numbers(tab, "key") == shown(integers(found)[5, 0])
