"""Maps of heads on the pages: one selection on all of them, by mouse, keyboard and touch, and charts as files."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import new_tab, opened_tab
from tests.browser.page_actions import at_rest, box_of, downloaded, go_to, open_page
from tests.browser.test_alpha_page import FOCUSED


def head(tab, row, number, map_number=0):
    name = re.compile(f"^Layer {row}, head {number}:")
    return tab.locator(".maps .grid").nth(map_number).get_by_role("gridcell", name=name)


def framed(tab, row, number) -> None:
    """The head, and no other, has the frame on every map and in the alpha grid."""
    expect(tab.locator(".grid .cell.chosen").first).to_be_visible()
    found = tab.locator(".grid").evaluate_all(
        "grids => grids.map(grid => [...grid.querySelectorAll('.cell')].flatMap((c, i) => c.matches('.chosen') ? [i] : []))"
    )
    assert found
    assert all(indices == [12 * row + number] for indices in found)


def test_a_selected_head_is_in_the_url_and_framed_on_every_map_of_every_page(tab, server):
    open_page(tab, server, "scores")
    head(tab, 5, 9).click()
    expect(tab).to_have_url(re.compile("heads=5.9"))
    at_rest(tab)
    framed(tab, 5, 9)
    assert tab.locator(".maps .grid").count() == 4
    go_to(tab, "alpha")
    expect(tab).to_have_url(re.compile("heads=5.9"))
    assert tab.locator(".grid").count() == 2
    framed(tab, 5, 9)
    mask = tab.locator(".lab").get_attribute("data-mask")
    tab.locator(".lab .grid .cell").nth(14).click(modifiers=["Control"])  # adds the head and sets no override
    expect(tab).to_have_url(re.compile("heads=5.9(%2C|,)1.2"))
    assert "overrides" not in tab.url
    assert tab.locator(".lab").get_attribute("data-mask") == mask
    tab.locator(".lab .grid .cell").nth(69).focus()
    tab.keyboard.press("i")
    expect(tab).to_have_url(re.compile("heads=1.2$"))
    at_rest(tab)
    framed(tab, 1, 2)
    tab.locator(".lab .grid .cell").nth(0).click()  # a plain click sets an override, as before
    expect(tab).to_have_url(re.compile("overrides=k0.0"))
    at_rest(tab)
    framed(tab, 1, 2)
    head(tab, 3, 3).click()  # on the lower map
    expect(tab).to_have_url(re.compile("heads=3.3"))
    at_rest(tab)
    framed(tab, 3, 3)
    go_to(tab, "scores")
    framed(tab, 3, 3)
    go_to(tab, "orthogonality")
    expect(tab.locator(".st-key-head_scatter .legendtext").filter(has_text="Selected")).to_have_count(1)
    go_to(tab, "head")
    expect(tab.get_by_role("heading", name="Layer 3, head 3")).to_be_visible()


def test_heads_are_selected_with_the_keyboard_only(tab, server):
    open_page(tab, server, "scores")
    for _ in range(60):
        tab.keyboard.press("Tab")
        if tab.evaluate(FOCUSED).startswith("Layer 0, head 0:"):
            break
    for key in ("ArrowDown", "ArrowRight", "Enter"):
        tab.keyboard.press(key)
    expect(tab).to_have_url(re.compile("heads=1.1"))
    at_rest(tab)
    assert tab.evaluate(FOCUSED).startswith("Layer 1, head 1:")  # the answer leaves the focus there
    tab.keyboard.press("Shift+ArrowRight")
    tab.keyboard.press("Shift+ArrowDown")
    expect(tab).to_have_url(re.compile("heads=1.1(%2C|,)1.2(%2C|,)2.1(%2C|,)2.2"))
    tab.keyboard.press("Escape")
    expect(tab).not_to_have_url(re.compile("heads="))


def test_a_click_sends_no_map_again(tab, server):
    received = []
    tab.on("websocket", lambda socket: socket.on("framereceived", lambda frame: received.append(frame)))
    open_page(tab, server, "scores")
    assert any(b'"levels"' in frame for frame in received)
    received.clear()
    head(tab, 2, 3).click()
    expect(tab.locator(".st-key-drawer")).to_contain_text("Layer 2, head 3")
    at_rest(tab)
    assert not any(b'"levels"' in frame for frame in received)


def test_a_tap_selects_the_tapped_head_and_a_swipe_scrolls_the_page(browser, server):
    with new_tab(browser, width=390) as tab:
        device = tab.context.new_cdp_session(tab)
        device.send("Emulation.setTouchEmulationEnabled", {"enabled": True})
        open_page(tab, server, "scores")

        def touch(kind, x, y):
            points = [] if kind == "touchEnd" else [{"x": x, "y": y}]
            device.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

        for row, number in ((3, 3), (1, 7), (4, 2)):
            box = box_of(head(tab, row, number))
            for kind in ("touchStart", "touchEnd"):
                touch(kind, box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
            expect(tab).to_have_url(re.compile(f"heads={row}.{number}$"))
            at_rest(tab)
        box = box_of(head(tab, 2, 5))
        top = tab.get_by_test_id("stMain").evaluate("main => main.scrollTop")
        x, y = box["x"] + 8, box["y"] + 8
        touch("touchStart", x, y)
        for step in range(1, 11):
            touch("touchMove", x, y - 15 * step)
        touch("touchEnd", x, y)
        tab.wait_for_function("top => document.querySelector('[data-testid=stMain]').scrollTop > top + 50", arg=top)
        expect(tab).to_have_url(re.compile("heads=4.2$"))  # a swipe selects nothing


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_chart_is_a_file_with_title_model_and_dataset(browser, server, scheme):
    with opened_tab(browser, color_scheme=scheme) as tab:
        open_page(tab, server, "")
        row = tab.locator(".st-key-files_label_counts")
        svg = downloaded(tab, row.get_by_role("button", name="SVG")).read_text()
        assert "Examples by class" in svg
        assert "MiniLM-L6 (built-in, tweet sentiment) · built-in tweets" in svg
        assert "neutral" in svg
        assert downloaded(tab, row.get_by_role("button", name="PNG")).read_bytes().startswith(b"\x89PNG")
        table = downloaded(tab, row.get_by_role("button", name="CSV")).read_text(encoding="utf-8-sig")
        assert table.splitlines()[0] == "series,x,y"
        row.get_by_role("button", name="Enlarge").click()
        chart = tab.locator(".st-key-label_counts .js-plotly-plot")
        tab.wait_for_function("() => document.querySelector('.st-key-label_counts .js-plotly-plot').clientWidth > 1000")
        tab.keyboard.press("Escape")
        tab.wait_for_function("() => document.querySelector('.st-key-label_counts .js-plotly-plot').clientWidth < 1000")
        assert chart.evaluate("chart => chart.layout.dragmode") is False  # a finger scrolls the page
