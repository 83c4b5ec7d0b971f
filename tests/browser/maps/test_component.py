"""The maps of heads alone: selection, late answers, maps that are not sent again, files, and 1,024 heads."""

from pathlib import Path

import numpy as np
import pytest

from pages.parts import head_grid
from pages.parts.head_grid import HeadMap, Mark, kept_map

NAMES = ("his", "ae", "hies", "gnorm")
HERE = Path(head_grid.__file__).parent
PARTS = [head_grid.SCRIPT, (HERE / "maps.html").read_text(), (HERE / "maps.css").read_text()]
# Draws the component in a shadow root, as Streamlit does; `sent` holds its messages, `say` gives it data.
START = """async ([script, html, css]) => {
    const module = await import("data:text/javascript," + encodeURIComponent(script));
    const root = document.body.appendChild(document.createElement("div")).attachShadow({mode: "open"});
    root.innerHTML = `<style>${css}</style>${html}`;
    window.sent = [];
    window.say = data => module.default({parentElement: root, data, setStateValue: (_, state) => sent.push(state)});
    window.module = module;
    window.root = root;
    window.frame = () => new Promise(done => requestAnimationFrame(() => setTimeout(done)));
}"""
LOOK = "<style>:root { --st-text-color: #111; --st-background-color: #fff; --st-primary-color: #06a; }</style>"


@pytest.fixture
def alone(tab):
    tab.set_content(LOOK)
    tab.evaluate(START, PARTS)
    return tab


def data(maps, heads, rows, **more) -> dict:
    documents = dict(one.document() for one in maps)
    given = {"order": list(documents), "maps": documents, "heads": heads, "labels": [str(row) for row in range(rows)]}
    return given | {"selected": [], "answers": 0, "name": "maps", "subtitle": "a model · a dataset"} | more


def four(rows, heads) -> list[HeadMap]:
    values = np.random.default_rng(0).random((4, rows, heads))
    return [HeadMap(name, name.upper(), one, role=name, ranked=True) for name, one in zip(NAMES, values, strict=True)]


def cell(tab, row, head, number=0, heads=5):
    return tab.locator("figure").nth(number).locator(".grid .cell").nth(row * heads + head)


def chosen(tab) -> list[list[int]]:
    """The framed heads of every map."""
    return tab.evaluate(
        """[...root.querySelectorAll("figure")].map(
            map => [...map.querySelectorAll(".grid .cell.chosen")].map(cell => Number(cell.dataset.index))
        )"""
    )


def test_clicks_select_add_and_remove_on_every_map_at_once(alone):
    alone.evaluate("data => say(data)", data(four(3, 5), 5, 3))
    cell(alone, 1, 2).click()
    assert chosen(alone) == [[7]] * 4
    cell(alone, 2, 4, number=3).click(modifiers=["Control"])
    cell(alone, 0, 0, number=1).click(modifiers=["Shift"])
    cell(alone, 1, 2, number=2).click(modifiers=["Meta"])
    assert chosen(alone) == [[0, 14]] * 4
    assert [message["heads"] for message in alone.evaluate("sent")] == [
        [[1, 2]],
        [[1, 2], [2, 4]],
        [[1, 2], [2, 4], [0, 0]],
        [[2, 4], [0, 0]],
    ]
    assert alone.locator(".chosen-count").inner_text() == "Selected (layer.head): 2.4, 0.0"
    assert cell(alone, 2, 4).get_attribute("aria-selected") == "true"
    alone.get_by_role("button", name="Clear selection").click()
    assert chosen(alone) == [[]] * 4


def test_a_drag_selects_a_rectangle_and_tells_python_once(alone):
    alone.evaluate("data => say(data)", data(four(3, 5), 5, 3))
    first, last = cell(alone, 0, 1).bounding_box(), cell(alone, 1, 3).bounding_box()
    alone.mouse.move(first["x"] + 6, first["y"] + 6)
    alone.mouse.down()
    alone.mouse.move(last["x"] + 6, last["y"] + 6, steps=5)
    alone.mouse.up()
    assert chosen(alone) == [[1, 2, 3, 6, 7, 8]] * 4
    alone.wait_for_function("sent.length > 0")
    alone.wait_for_timeout(400)
    assert alone.evaluate("sent.length") == 1
    cell(alone, 2, 0).click()  # a click after it is a click again
    assert chosen(alone) == [[10]] * 4


def test_everything_can_be_done_by_keyboard(alone):
    alone.evaluate("data => say(data)", data(four(3, 5), 5, 3))
    cell(alone, 0, 0).focus()
    for key in ("ArrowDown", "End", "Enter"):
        alone.keyboard.press(key)
    assert chosen(alone)[0] == [9]
    alone.keyboard.press("Tab")  # a map is one stop
    assert alone.evaluate("root.activeElement.getAttribute('aria-label')").startswith("Layer 0, head 0: AE ")
    alone.keyboard.press("Shift+Tab")
    values = four(3, 5)[0].document()[1]
    assert (
        alone.locator(".detail")
        .inner_text()
        .startswith(f"Layer 1, head 4: HIS {values['values'][9]:.3g} (pruned as {values['position'][9]} of 15); AE ")
    )
    alone.keyboard.press("Home")
    alone.keyboard.press("i")
    assert chosen(alone)[3] == [5, 9]
    alone.keyboard.press("Shift+ArrowRight")
    alone.keyboard.press("Shift+ArrowDown")
    assert chosen(alone)[1] == [5, 6, 10, 11]
    alone.keyboard.press("Escape")
    assert chosen(alone) == [[]] * 4
    assert alone.get_by_role("status").inner_text() == "No head selected."
    tabbable = alone.evaluate(
        "[...root.querySelectorAll('.grid')].map(grid => grid.querySelectorAll('[tabindex=\"0\"]').length)"
    )
    assert tabbable == [1] * 4


def test_answers_that_come_late_leave_what_was_selected_since(alone):
    given = data(four(3, 5), 5, 3)
    shown = alone.evaluate(
        """given => {
            const shown = [], framed = () => root.querySelector("figure").querySelectorAll(".chosen");
            const look = () => shown.push([...framed()].map(cell => Number(cell.dataset.index)));
            const answer = k => { say({...given, maps: {}, selected: sent[k].heads, answers: sent[k].number}); look(); };
            say(given);
            const all = root.querySelectorAll("figure .grid .cell");
            all[3].click(); all[4].click();
            answer(0);
            answer(1);
            say({...given, maps: {}, selected: [[2, 2]], answers: sent[1].number}); // Python has another mind
            look();
            return shown;
        }""",
        given,
    )
    assert shown == [[4], [4], [12]]


def test_a_map_is_sent_once_and_asked_for_where_it_is_missing(alone):
    given = data(four(3, 5), 5, 3)
    alone.evaluate("data => say(data)", given)
    cell(alone, 0, 0).click()
    message = alone.evaluate("sent.at(-1)")
    assert message["known"] == given["order"]
    alone.evaluate("data => say(data)", given | {"maps": {}, "selected": [[0, 0]], "answers": 1})
    assert alone.locator("figure").count() == 4
    other = data(four(3, 5)[:1], 5, 3, selected=[[0, 0]], answers=1)
    name = other["order"][0]
    alone.evaluate("data => say(data)", other | {"order": ["never seen"], "maps": {}})
    message = alone.evaluate("sent.at(-1)")
    assert (message["known"], message["heads"]) == ([], [[0, 0]])
    alone.evaluate("data => say(data)", other | {"answers": message["number"]})
    assert alone.locator("figure").count() == 1
    assert chosen(alone) == [[0]]
    assert name == given["order"][0]


def test_files_hold_every_value_and_are_safe_to_open(alone):
    values = np.array([[0.1, np.nan], [1 / 3, 2.0]])
    maps = [HeadMap("his", "HIS <b>", values, role="his", marks=(Mark("pruned, twice", values == 2, "×"),))]
    given = data([*maps, kept_map("Mask", values > 0.2, description="")], 2, 2) | {"labels": ["0", "=cmd()"]}
    alone.evaluate("data => say(data)", given)
    with alone.expect_download() as download:
        alone.get_by_role("button", name="Download the values of the maps as CSV").click()
    assert download.value.suggested_filename == "maps.csv"
    assert Path(download.value.path()).read_bytes().decode().split("\r\n") == [
        "layer,head,his,his_state,state",
        "0,0,0.1,,pruned",
        "0,1,,,pruned",
        "'=cmd(),0,0.333333333,,kept",
        '\'=cmd(),1,2,"pruned, twice",kept',
        "",
    ]
    with alone.expect_download() as download:
        alone.get_by_role("button", name="Download the maps as SVG").click()
    svg = Path(download.value.path()).read_text()
    assert "HIS &#60;b&#62;" in svg
    assert "a model · a dataset" in svg
    assert svg.count('height="20"') == 8
    with alone.expect_download() as download:
        alone.get_by_role("button", name="Download the maps as PNG").click()
    assert Path(download.value.path()).read_bytes().startswith(b"\x89PNG")


def test_1024_heads_on_four_maps_answer_a_click_within_100_ms(alone):
    alone.evaluate("data => say(data)", data(four(32, 32), 32, 32))
    median = alone.evaluate(
        """async () => {
            const cells = root.querySelectorAll(".grid .cell"), times = [];
            for (let k = 0; k < 20; k++) {
                await frame();
                const start = performance.now();
                cells[37 * k + 5].click();
                root.host.offsetWidth; // the layout is part of it
                times.push(performance.now() - start);
            }
            return times.sort((a, b) => a - b)[10];
        }"""
    )
    assert median < 100
    assert alone.evaluate("JSON.stringify(sent.at(-1)).length") < 500
    assert chosen(alone) == [[37 * 19 + 5]] * 4


def test_cells_of_12_heads_are_24_pixels_high_on_a_phone(alone):
    alone.set_viewport_size({"width": 390, "height": 844})
    alone.evaluate("data => say(data)", data(four(6, 12), 12, 6))
    boxes = alone.locator(".grid .cell").evaluate_all(
        "cells => cells.map(cell => cell.getBoundingClientRect()).map(box => [box.width, box.height])"
    )
    assert min(height for _, height in boxes) >= 24
    assert min(width for width, _ in boxes) >= 24
    assert alone.evaluate("document.documentElement.scrollWidth") <= 390
