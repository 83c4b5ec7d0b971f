"""Long texts in the attention view: few elements, fast interactions, and the stored part of 2,000 tokens."""

import numpy as np
import pytest

from .conftest import button, carried, count_line, integers, made_up, numbers, percent, token, value_line, words

MEASURE = """
([selector, events]) => {
  const element = document.querySelector(selector), box = element.getBoundingClientRect(), times = [];
  for (const [x, y] of events) {
    const start = performance.now();
    const place = { clientX: box.left + x * box.width, clientY: box.top + y * box.height, bubbles: true };
    element.dispatchEvent(new PointerEvent("pointermove", place));
    document.body.getBoundingClientRect();  // layout, too
    times.push(performance.now() - start);
  }
  return times.sort((a, b) => a - b)[events.length >> 1];
}
"""
PLACES = [(0.5, (7 * i % 20 + 0.5) / 20) for i in range(20)]


def median(tab, selector, places=PLACES) -> float:
    """Median time in ms of 20 pointer movements."""
    return tab.evaluate(MEASURE, [selector, places])


@pytest.fixture(scope="module")
def text_of_512():
    return made_up([f"t{i}" for i in range(512)], heads=4)


@pytest.fixture(scope="module")
def text_of_2000():
    return made_up([f"t{i}" for i in range(2000)], causal=True)


@pytest.mark.slow
def test_512_tokens_and_four_heads_are_smooth(open_view, text_of_512):
    with open_view(text_of_512) as tab:
        assert tab.locator(".av-token").count() < 8 * 60
        times = {"queries": median(tab, ".av-query"), "keys": median(tab, ".av-key")}
        button(tab, "Matrix").click()
        times["matrix"] = median(tab, ".av-matrix")
        times["matrix columns"] = median(tab, ".av-matrix", [(y, x) for x, y in PLACES])
        button(tab, "Lines").click()
        scrolling = """() => { const element = document.querySelector(".av-scroll"), times = [];
          for (let i = 0; i < 20; i++) { const start = performance.now(); element.scrollTop = 500 * i;
            element.dispatchEvent(new Event("scroll")); times.push(performance.now() - start); }
          return times.sort((a, b) => a - b)[10]; }"""
        times["scrolling"] = tab.evaluate(scrolling)
        print(", ".join(f"{name} {time:.1f} ms" for name, time in times.items()))
        assert max(times.values()) < 100


@pytest.mark.slow
def test_512_tokens_count_their_links(open_view, text_of_512):
    with open_view(text_of_512) as tab:
        for panel, values in enumerate(integers(text_of_512)):
            top = np.sort(values.ravel())[::-1][:150].sum() / values.sum()
            links = (values > 0).sum()
            assert count_line(tab, panel) == f"150 of {links:,} links drawn; they carry {carried(top)} of the attention."
        token(tab, "query", 2).hover()
        row = integers(text_of_512)[0, 2]
        top = np.sort(row)[::-1][:150].sum() / row.sum()
        assert count_line(tab).startswith(f"150 of {(row > 0).sum()} links drawn; they carry {carried(top)}")


@pytest.mark.slow
def test_2000_tokens_stay_usable(open_view, text_of_2000):
    values = integers(text_of_2000)[0]
    with open_view(text_of_2000) as tab:
        assert tab.locator(".av-token").count() < 120
        assert "64 strongest keys" in tab.locator(".av-note").inner_text()
        token(tab, "query", 0).focus()
        tab.keyboard.press("End")
        assert words(tab) == "“t1999” (token 2,000 of 2,000) attends to:"
        assert tab.locator(".av-token").count() < 120
        stored = np.sort(values[1999])[::-1][:64]
        best = " · ".join(f"t{i} {percent(values[1999, i] / 65535)}" for i in np.argsort(-values[1999], kind="stable")[:5])
        assert value_line(tab) == f"{best} (5 strongest of {(stored > 0).sum()})"
        shown = {i: text for i, text in numbers(tab, "key").items() if text}
        assert shown
        assert all(text == percent(values[1999, i] / 65535) for i, text in shown.items())
        tab.locator(".av-scroll").evaluate("scroll => (scroll.scrollTop = 20000)")
        token(tab, "key", 840).hover()
        assert words(tab) == "“t840” (token 841 of 2,000) is attended to by:"
        times = [median(tab, ".av-query"), median(tab, ".av-key")]
        button(tab, "Matrix").click()
        times.append(median(tab, ".av-matrix"))
        print([f"{time:.1f} ms" for time in times])
        assert max(times) < 250
        box = tab.locator(".av-matrix").bounding_box()
        assert box["height"] <= 660
