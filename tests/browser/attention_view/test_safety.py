"""Tokens are outside text: hostile ones stay text in the page and in every download; right-to-left text can be read."""

import csv
import io
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

import headprune_core as hp
from headprune_core.inspection.attention_html import attention_html
from tests.browser.conftest import new_tab

from .conftest import button, made_up, token, words

HOSTILE = [
    "<img src=x onerror=\"document.title='hacked'\">",
    "</script><script>document.title='hacked'</script>",
    "<!--<script>",
    "$&$`__ATTENTION_DOCUMENT__",
    "=SUM(A1)",
    'quote " and, comma',
    "two\nlines",
    "\x00\x0b\ud800",
    "]]>&amp;",
    "שלום",
    "مرحبا",
    "😀 (1/4)",
    " ",
]


@pytest.fixture(scope="module")
def hostile():
    return made_up(HOSTILE, heads=1)


def saved(tab, name) -> bytes:
    """What a download button saves."""
    with tab.expect_download() as download:
        button(tab, f"Download as {name}").click()
    return Path(download.value.path()).read_bytes()


def harmless(tab):
    assert tab.title() == "Attention of a model"
    assert tab.locator("img, main script").count() == 0


@pytest.mark.parametrize("mode", ["Lines", "Matrix"])
def test_hostile_tokens_stay_text(open_view, hostile, mode):
    with open_view(hostile) as tab:
        for i in (0, 1, 5, 8):
            assert token(tab, "query", i).locator(".av-text").text_content() == HOSTILE[i]
        assert token(tab, "query", 12).locator(".av-text").text_content() == "␣"
        token(tab, "query", 1).click()
        assert HOSTILE[1] in words(tab)
        button(tab, mode).click()
        harmless(tab)
        root = ET.fromstring(saved(tab, "SVG"))
        assert all(element.tag.rpartition("}")[2] in ("svg", "g", "path", "rect", "text") for element in root.iter())
        assert any(HOSTILE[8] in (element.text or "") for element in root.iter())
        assert saved(tab, "PNG").startswith(b"\x89PNG")
        harmless(tab)


def test_the_csv_has_every_link_and_no_formula(open_view, hostile):
    with open_view(hostile) as tab:
        rows = list(csv.DictReader(io.StringIO(saved(tab, "CSV").decode("utf-8-sig"), newline="")))
    raw, weighted = hostile.attention[0], hostile.weighted[0] / hostile.weighted[0].sum(-1, keepdims=True)
    assert len(rows) == ((np.rint(raw * 65535) > 0) | (np.rint(weighted * 65535) > 0)).sum()
    for row in rows:
        query, key = int(row["query_position"]) - 1, int(row["key_position"]) - 1
        assert float(row["attention"]) == pytest.approx(raw[query, key], abs=1e-5)
        assert float(row["value_weighted_attention"]) == pytest.approx(weighted[query, key], abs=1e-5)
    written = {row["query_token"] for row in rows}
    assert {"'=SUM(A1)", HOSTILE[5], HOSTILE[6]} <= written
    assert not any(text.startswith("=") for text in written)


def test_a_downloaded_html_file_is_the_same_view(open_view, hostile, browser, tmp_path):
    with open_view(hostile) as tab:
        page = saved(tab, "HTML")
    (tmp_path / "again.html").write_bytes(page)
    with new_tab(browser) as tab:
        tab.context.set_offline(True)
        tab.goto((tmp_path / "again.html").as_uri())
        harmless(tab)
        assert token(tab, "query", 1).locator(".av-text").text_content() == HOSTILE[1]
        assert saved(tab, "HTML") == page


def test_right_to_left_tokens_have_their_direction(open_view, hostile):
    with open_view(hostile) as tab:
        texts = [token(tab, "key", i).locator(".av-text") for i in (9, 10, 11)]
        directions = [text.evaluate("text => getComputedStyle(text).direction") for text in texts]
        assert directions == ["rtl", "rtl", "ltr"]
        token(tab, "query", 9).hover()
        assert words(tab) == "“\u2068שלום\u2069” (token 10 of 13) attends to:"  # isolated from the number after it


def test_the_page_allows_no_network(hostile):
    page = attention_html(hostile.document())
    assert "default-src 'none'" in page.replace("&#x27;", "'")
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "").replace("http-equiv", "")
    assert page.count("</script>") == 2
    assert "<!--<script>" not in page


@pytest.mark.parametrize("document", [None, {}, {"format": "other"}, "text"])
def test_other_documents_are_refused(document):
    with pytest.raises(hp.HeadPruneError, match=r"document must be the result of TextAttention\.document\(\)"):
        attention_html(document)
