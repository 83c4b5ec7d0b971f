"""The report as a reader opens it: a file on disk, no network, light and dark, on a screen, a phone and paper."""

import os
from pathlib import Path

import pytest
from playwright.sync_api import expect

import headprune_core as hp
from headprune_core.measure.random_baseline import random_baseline
from headprune_core.report.pruning_record import PruningRecord, share
from headprune_core.report.report import html_report
from tests.browser.conftest import new_tab

SHOTS = os.environ.get("HEADPRUNE_SCREENSHOTS")  # a folder to put pictures in, for eyes
HOSTILE = "<img src=x onerror=alert(1)></script><script>document.title='hacked'</script>"


@pytest.fixture(scope="module")
def record_and_file(tmp_path_factory):
    """A real report of the built-in model at 50% sparsity."""
    model = hp.PrunableModel.from_pretrained("embedded", device="cpu")
    scores = hp.score_heads(model, hp.load_examples("embedded"))
    texts = hp.load_examples("embedded", split="evaluation", size=32)
    mask = hp.prune_mask(scores.his, 0.5)
    pruned = hp.prune_heads(model, mask)
    folder = tmp_path_factory.mktemp("report")
    pruned.save_pretrained(folder / "model")
    reloaded = hp.PrunableModel.from_pretrained(folder / "model", device="cpu")
    record = PruningRecord(
        source="embedded",
        mask_description="the half of the heads that is lowest in HIS",
        criterion="HIS",
        sparsity=0.5,
        calibration_data="32 tweets, the calibration split",
        evaluation_data="32 tweets, the evaluation split",
        settings=scores.settings,
        verification=hp.verify_pruning(model, pruned, texts, reloaded=reloaded),
        random_baseline=random_baseline(model, texts, mask, n_random=3),
        latency=hp.measure_latency(pruned, compare=model, batch_sizes=(2,), sequence_length=16, repeats=3),
    )
    curves = hp.sparsity_curves(
        model, texts, scores, methods=["his", "hies", "random"], sparsities=[0, 0.5, 0.75], n_random=2
    )
    html = html_report(
        model,
        pruned,
        record,
        scores=scores,
        curves=curves,
        n_overlap=0,
        code='import headprune_core as hp\n\nmodel = hp.PrunableModel.from_pretrained("embedded")',
        command="headprune prune --sparsity 0.5",
        notes=[f"A note with {HOSTILE}"],
        text=f"The crew was wonderful. {HOSTILE}",
    )
    (folder / "report.html").write_text(html, encoding="utf-8")
    return record, folder / "report.html"


def opened(tab, file: Path) -> list[str]:
    """Open the file without a network; the addresses that were asked for meanwhile."""
    asked: list[str] = []
    tab.context.set_offline(True)
    tab.on("request", lambda request: asked.append(request.url))
    tab.route("**", lambda route: route.continue_() if route.request.url == file.as_uri() else route.abort())
    tab.goto(file.as_uri())
    tab.wait_for_function(
        "() => [...document.querySelectorAll('.plotly-graph-div')].every(g => g.querySelector('.main-svg'))"
    )
    return asked


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_a_report_needs_no_network_and_fits(browser, record_and_file, scheme, width):
    record, file = record_and_file
    with new_tab(browser, width=width, color_scheme=scheme) as tab:
        asked = opened(tab, file)
        assert asked == [file.as_uri()]
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        figures = tab.locator("section > figure")
        assert figures.count() == 8
        view = figures.filter(has=tab.locator(".attention-view"))
        view.scroll_into_view_if_needed()
        expect(view).to_contain_text("wonderful")
        expect(view).to_contain_text("links drawn")
        assert view.locator(".attention-view").bounding_box()["width"] <= width
        for number in range(figures.count()):
            if figures.nth(number).locator(".attention-view").count():
                continue
            drawn = figures.nth(number).locator(".main-svg").first.bounding_box()
            inside = figures.nth(number).bounding_box()
            assert 0 < drawn["width"] <= inside["width"] + 1
            assert drawn["height"] > 100
        assert tab.title() == "Pruning 36 of 72 attention heads of MiniLM-L6 (built-in, tweet sentiment)"
        text = tab.locator("main").inner_text()
        for found in (record.verification.unpruned, record.verification.pruned):
            assert str(share(found)) in text
        assert record.random_baseline.summary[1:] in text
        assert f"A note with {HOSTILE}" in text  # what users wrote is shown letter by letter
        assert tab.locator("main img").count() == 0
        text_of_charts_can_be_read(tab)
        if SHOTS:
            tab.screenshot(path=f"{SHOTS}/report-{scheme}-{width}.png", full_page=True)


def text_of_charts_can_be_read(tab) -> None:
    """Every letter outside of hovers has the color of the text around it, and that is far from the page's."""
    ink, paper = tab.evaluate(
        "[getComputedStyle(document.body).color, getComputedStyle(document.documentElement).backgroundColor]"
    )
    fills = tab.evaluate(
        "[...document.querySelectorAll('.main-svg text')].filter(t => t.textContent && !t.closest('.hoverlayer'))"
        ".map(t => getComputedStyle(t).fill)"
    )
    assert len(fills) > 50
    assert set(fills) == {ink}
    assert contrast(ink, paper) > 7


def contrast(first: str, second: str) -> float:
    """The ratio of WCAG 2 of two colors "rgb(r, g, b)"."""
    light = []
    for color in (first, second):
        parts = [int(part) / 255 for part in color[color.index("(") + 1 : -1].split(",")[:3]]
        linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        light.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])
    return (max(light) + 0.05) / (min(light) + 0.05)


def test_paper_is_white_and_nothing_is_cut_off(browser, record_and_file):
    _, file = record_and_file
    with new_tab(browser, color_scheme="dark") as tab:
        opened(tab, file)
        tab.emulate_media(media="print")
        assert tab.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(255, 255, 255)"
        tab.evaluate("dispatchEvent(new Event('beforeprint'))")
        widths = tab.evaluate("[...document.querySelectorAll('.main-svg')].map(s => s.getBoundingClientRect().width)")
        assert max(widths) <= 640
        tab.evaluate("dispatchEvent(new Event('afterprint'))")
        tab.emulate_media(media="null")
        tab.wait_for_function("() => document.querySelector('.main-svg').getBoundingClientRect().width > 660")
        if SHOTS:
            tab.pdf(path=f"{SHOTS}/report.pdf", format="A4")
