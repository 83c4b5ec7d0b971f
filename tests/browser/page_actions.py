"""User actions on a page that tolerate reruns.

Streamlit renders a page again after every change, late on a machine under load: a list closes, a chart is still missing, an
element moves, or a download gets a new address. So each action waits until the page is at rest, checks the state before it
does anything, and checks it again afterwards. No action that took effect is repeated.
"""

from contextlib import suppress
from pathlib import Path

from playwright.sync_api import TimeoutError as NotYet
from playwright.sync_api import expect

from pages.parts.common import labels
from tests.browser.conftest import PATIENCE

PAGES = {"" if page.path == "model" else page.path: page.title for page in labels.PAGES.values()}
BACKGROUNDS = {"light": "rgb(255, 255, 255)", "dark": "rgb(17, 22, 28)"}  # of the app, by color scheme
LONG = 5 * PATIENCE  # ms; until the model has finished
UNSENT = 300  # ms; Streamlit sends the value of a slider this much later at most
SOON = 10_000  # ms; until the effect of a click shows, unless a rerun dropped the click
expect.set_options(timeout=PATIENCE)

# True once it has been so for three frames. A script that has ended is not enough: Streamlit fetches the code of charts,
# lists and sliders when it first needs it and holds their places with skeletons; what is opened or clicked then is lost.
AT_REST = """() => {
    const seen = (selector) => [...document.querySelectorAll(selector)].filter((part) => part.checkVisibility());
    const idle = document.querySelector("[data-testid='stApp'][data-test-script-state='notRunning']");
    const missing = seen("[data-testid='stSkeleton'], [data-stale='true']").length;
    // it listens when it is drawn
    const listens = (chart) => Boolean(chart.querySelector(".js-plotly-plot")?._ev?._events?.plotly_selected);
    const drawn = seen("[data-testid='stPlotlyChart']").every(listens);
    window.framesAtRest = idle && !missing && drawn ? (window.framesAtRest ?? 0) + 1 : 0;
    return window.framesAtRest > 3;
}"""


def at_rest(tab) -> None:
    """Wait until the page is drawn, charts included; while a job reports progress, until a moment between two reports."""
    tab.evaluate("window.framesAtRest = 0")
    tab.wait_for_function(AT_REST)


def open_page(tab, server, path) -> None:
    tab.goto(server + path)
    # by name: for a moment the heading of the page before is still there
    expect(tab.get_by_role("heading", level=1, name=PAGES[path.partition("?")[0]])).to_be_visible(timeout=LONG)
    at_rest(tab)  # what is clicked while a page is still being drawn can be lost


def go_to(tab, path) -> None:
    """Show another page in the same session, as the browser's Back and Forward buttons do; quicker than `open_page`."""
    tab.evaluate("path => { history.pushState({}, '', path); dispatchEvent(new PopStateEvent('popstate')); }", f"/{path}")
    expect(tab.get_by_role("heading", level=1, name=PAGES[path])).to_be_visible(timeout=LONG)
    at_rest(tab)


def box_of(place) -> dict[str, float]:
    """Return the box of an element that is in view, at rest and not covered."""
    place.hover(trial=True)
    return place.bounding_box()


def until(done, do) -> None:
    """Repeat `do()`, which may run twice, until the locator `done` is visible."""
    for _ in range(6):
        if done.is_visible():
            return
        do()
        try:
            done.wait_for(timeout=SOON)
            return
        except NotYet:
            continue
    done.wait_for()


def expand(tab, title: str, inside) -> None:
    """Open the expander with this title; `inside` is an element that it then shows."""
    expander = tab.get_by_test_id("stExpander").filter(has_text=title).locator("details").first

    def open_it():
        at_rest(tab)
        if expander.get_attribute("open") is None:  # a click would close it
            expander.locator("summary").click()

    until(inside, open_it)


def pick(tab, box: str, option: str) -> None:
    """Choose an option of the select box with this label."""
    listed = tab.get_by_role("option", name=option, exact=True)
    for _ in range(6):
        until(listed, lambda: tab.get_by_role("combobox", name=box).press("ArrowDown"))
        try:
            listed.click(timeout=SOON)
            return
        except NotYet:  # the list was closed in between
            continue
    listed.click()


def slide(tab, slider, to: int) -> None:
    """Move a Streamlit slider of step 1 to an integer by keyboard, until it stays there: a late rerun can set it back."""
    for _ in range(6):
        at_rest(tab)
        if int(slider.input_value()) == to:
            return
        _move(slider, to)
        tab.wait_for_timeout(UNSENT)
    expect(slider).to_have_value(str(to))


def _move(slider, to: int) -> None:
    """Press keys, and wait for every step."""
    low, high, value = int(slider.get_attribute("min")), int(slider.get_attribute("max")), int(slider.input_value())
    for key, end in (("Home", low), ("End", high)):
        if abs(to - end) < abs(to - value):
            slider.press(key)
            expect(slider).to_have_value(str(end))
            value = end
    page = round((high - low) / 10)  # what PageUp and PageDown move by
    while value != to:
        size = page if 1 < page <= abs(to - value) else 1
        up = to > value
        slider.press(("PageUp" if up else "PageDown") if size > 1 else ("ArrowRight" if up else "ArrowLeft"))
        value += size if up else -size
        expect(slider).to_have_value(str(value))


def cancel(tab) -> None:
    """Cancel the running job, unless it ends before."""
    main, idle = tab.get_by_test_id("stMain"), tab.get_by_test_id("stSidebar").get_by_text("Idle", exact=True)
    button = main.get_by_role("button", name="Cancel")
    expect(button.or_(idle).first).to_be_visible()
    if not idle.is_visible():
        with suppress(NotYet):
            button.click(timeout=SOON)
    expect(idle).to_be_visible(timeout=LONG)
    at_rest(tab)


def downloaded(tab, button) -> Path:
    """Return the file of a download button. Every rerun gives the button a new address, so the page must be at rest."""
    at_rest(tab)
    with tab.expect_download(timeout=LONG) as download:
        button.click()
    return Path(download.value.path())
