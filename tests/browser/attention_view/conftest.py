"""Attention views in an HTML file on disk, opened without a network."""

from contextlib import contextmanager

import numpy as np
import pytest

from headprune_core.inspection.attention_html import attention_html
from headprune_core.inspection.text_attention import TextAttention
from headprune_core.inspection.text_tokens import TextTokens
from tests.browser.conftest import new_tab

COUNT_STROKES = """
window.strokes = 0;
const clear = CanvasRenderingContext2D.prototype.clearRect, stroke = CanvasRenderingContext2D.prototype.stroke;
CanvasRenderingContext2D.prototype.clearRect = function (...a) { window.strokes = 0; return clear.apply(this, a); };
CanvasRenderingContext2D.prototype.stroke = function (...a) { window.strokes++; return stroke.apply(this, a); };
"""


def made_up(texts, heads=1, *, seed=0, causal=False, keys=None, special=(), segment=None):
    """Random attention on tokens with these texts."""
    generator, keys = np.random.default_rng(seed), keys or texts
    attention = generator.dirichlet(np.full(len(keys), 0.15), (heads, len(texts)))
    attention = np.tril(attention) if causal else attention
    attention /= attention.sum(-1, keepdims=True)
    weighted = attention * generator.random((heads, 1, len(keys)))

    def side(names):
        marks = tuple(i in special for i in range(len(names)))
        return TextTokens(tuple(range(len(names))), *[tuple(names)] * 2, marks, tuple(segment or [0] * len(names)))

    labels = tuple(f"Layer {i}, head {i + 1}" for i in range(heads))
    names = tuple((i, i + 1, i) for i in range(heads))
    arrays = attention.astype(np.float32), weighted.astype(np.float32)
    return TextAttention("a model", side(texts), side(keys), "self", names, labels, *arrays, len(texts), len(texts))


def integers(found, kind="attention"):
    """(K, T, S) integers that the document holds."""
    values = getattr(found, kind)
    return np.rint(values / (values.sum(-1, keepdims=True) if kind == "weighted" else 1) * 65535).astype(int)


@pytest.fixture
def open_view(browser, tmp_path):
    """Open the HTML file of some attention; the requests of the page must be for the file alone."""

    @contextmanager
    def opened(found, width=1280, color_scheme="light", script=COUNT_STROKES):
        file = tmp_path / "attention.html"
        file.write_text(attention_html(found.document()), encoding="utf-8")
        asked = []
        with new_tab(browser, width=width, color_scheme=color_scheme) as tab:
            tab.set_default_timeout(20_000)
            tab.context.set_offline(True)
            tab.on("request", lambda request: asked.append(request.url))
            tab.add_init_script(script)
            tab.goto(file.as_uri())
            tab.locator(".av-panel").first.wait_for()
            yield tab
        assert {url for url in asked if not url.startswith(("data:", "blob:"))} == {file.as_uri()}

    return opened


def token(tab, side, index, panel=0):
    """The element of a token in sight."""
    return tab.locator(f".av-{side}").nth(panel).locator(f"[aria-posinset='{index + 1}']")


def numbers(tab, side, panel=0) -> dict[int, str]:
    """The number beside each token in sight, by position."""
    return dict(
        tab.locator(f".av-{side}")
        .nth(panel)
        .evaluate("column => [...column.children].map(item => [item.ariaPosInSet - 1, item.lastChild.textContent])")
    )


def percent(value: float) -> str:
    """A share as the view writes it."""
    return "<0.1%" if 0 < value < 0.0005 else f"{100 * value:.1f}%"


def carried(share: float) -> str:
    """The part of the attention that the drawn links carry, if there are more links."""
    return "over 99%" if share >= 0.995 else f"{100 * share:.0f}%"


def words(tab) -> str:
    return tab.locator(".av-words").inner_text()


def value_line(tab, panel=0) -> str:
    return tab.locator(".av-values").nth(panel).inner_text()


def count_line(tab, panel=0) -> str:
    return tab.locator(".av-count").nth(panel).inner_text()


def button(tab, name):
    return tab.get_by_role("button", name=name, exact=True)
