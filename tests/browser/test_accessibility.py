"""Every page, empty and with results, light and dark, on a screen and a phone: it fits, and axe-core finds no serious
violation; nor does it in the HTML report."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

import headprune_core as hp
from pages.parts.common import labels
from tests.browser.conftest import opened_tab
from tests.browser.page_actions import LONG, PAGES, at_rest, go_to, open_page

SERIOUS = ("serious", "critical")
RESULTS = {  # a page, the button that makes its results, and a heading or text that then shows
    "uncertainty": "Run leave-one-out",
    "greedy": "Run Greedy-Gnorm",
    "accuracy": "Evaluate curves",
    "alpha_choice": "Evaluate all masks",
    "prune": "Prune model",
}


def violations(tab) -> list[str]:
    """Serious and critical violations that last: what fades in is still pale when the page is at rest."""
    found = audit(tab)
    for _ in range(3):
        if found:
            tab.wait_for_timeout(1000)
            found = audit(tab)
    return found


def audit(tab) -> list[str]:
    """Serious and critical violations, each with the elements that have it."""
    found = Axe().run(tab).response["violations"]
    return [
        f"{rule['id']} ({rule['impact']}): {node['html'][:160]} {node.get('failureSummary', '')[:200]}"
        for rule in found
        if rule["impact"] in SERIOUS
        for node in rule["nodes"]
    ]


@pytest.mark.parametrize("width", [1280, 390])
def test_every_page_fits_and_has_no_serious_violation(browser, server, width):
    with opened_tab(browser, width=width) as tab:
        open_page(tab, server, "")
        for path in PAGES:
            go_to(tab, path)
            in_both_schemes(tab, path)


def test_no_page_with_results_has_one(browser, server):
    """Each result is computed once, on as few examples as the form allows."""
    with opened_tab(browser) as tab:
        open_page(tab, server, "scores?head=3.5")
        in_both_schemes(tab, "scores with a head")
        for path, button in RESULTS.items():
            go_to(tab, path)
            main = tab.get_by_test_id("stMain")
            for name in (labels.EVALUATION_EXAMPLES, labels.RANDOM_RANKINGS, labels.RANDOM_MASKS):
                if main.get_by_role("slider", name=name).count():
                    main.get_by_role("slider", name=name).first.press("Home")
                    at_rest(tab)
            main.get_by_role("button", name=button, exact=True).click()
            expect(tab.get_by_test_id("stSidebar").get_by_text("Idle", exact=True)).to_be_visible(timeout=LONG)
            at_rest(tab)
            in_both_schemes(tab, path)


def in_both_schemes(tab, name: str) -> None:
    """The page follows the browser's color scheme, is not wider than the window, and has no serious violation."""
    for scheme, background in (("light", "rgb(255, 255, 255)"), ("dark", "rgb(17, 22, 28)")):
        tab.emulate_media(color_scheme=scheme)
        expect(tab.get_by_test_id("stApp")).to_have_css("background-color", background)
        at_rest(tab)
        assert tab.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, (name, scheme)
        assert violations(tab) == [], (name, scheme)
    tab.emulate_media(color_scheme="light")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_report_has_none(browser, scheme, tmp_path):
    model = hp.PrunableModel.from_pretrained("embedded")
    examples = hp.load_examples(split="evaluation", size=24)
    scores = hp.score_heads(model, hp.load_examples(size=8))
    mask = hp.prune_mask(scores.his, 0.3)
    pruned = hp.prune_heads(model, mask)
    record = hp.PruningRecord(
        source="embedded",
        mask_description="HIS, 30% sparsity",
        verification=hp.verify_pruning(model, pruned, examples),
        random_baseline=hp.random_baseline(model, examples, mask, n_random=3),
    )
    file = tmp_path / "report.html"
    file.write_text(hp.html_report(model, pruned, record, scores=scores), encoding="utf-8")
    with opened_tab(browser, color_scheme=scheme) as tab:
        tab.goto(file.as_uri())
        assert violations(tab) == []
