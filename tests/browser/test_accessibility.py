"""Every page, empty and with results, light and dark, on a screen and a phone: it fits, and axe-core finds no serious
violation; nor does it in the HTML report."""

import itertools

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

import headprune_core as hp
from pages.parts.common import labels
from tests.browser.conftest import opened_tab
from tests.browser.page_actions import BACKGROUNDS, LONG, PAGES, at_rest, go_to, open_page

SERIOUS = ("serious", "critical")
ALL_RULES = {"resultTypes": ["violations"]}
COLOR_RULES = ALL_RULES | {"runOnly": ["color-contrast", "link-in-text-block"]}  # all of axe that read colors
AUDITS = {"light": ALL_RULES, "dark": COLOR_RULES}  # the two differ in nothing but colors
RESULTS = {  # a page, the button that makes its results, and what then shows
    "uncertainty": ("Run leave-one-out", "The result below is for 1 evaluation example."),
    "greedy": ("Run Greedy-Gnorm", "72 heads pruned, 0 remaining"),
    "accuracy": ("Evaluate curves", "1 evaluation example"),
    "alpha_choice": ("Evaluate all masks", "Recommendation"),
    "prune": ("Prune model", "Identical predictions"),
}
LEAST = {labels.EVALUATION_EXAMPLES: "Home", labels.RANDOM_RANKINGS: "Home", labels.RANDOM_MASKS: "Home"}
LEAST |= {"Heads per step": "End"}  # the key that makes each slider ask for the least work


def violations(tab, options=ALL_RULES) -> list[str]:
    """Serious and critical violations that last: what fades in is still pale when the page is at rest."""
    found = audit(tab, options)
    for _ in range(3):
        if found:
            tab.wait_for_timeout(1000)
            found = audit(tab, options)
    return found


def audit(tab, options) -> list[str]:
    """Serious and critical violations, each with the elements that have it."""
    found = Axe().run(tab, options=options).response["violations"]
    return [
        f"{rule['id']} ({rule['impact']}): {node['html'][:160]} {node.get('failureSummary', '')[:200]}"
        for rule in found
        if rule["impact"] in SERIOUS
        for node in rule["nodes"]
    ]


def test_every_page_fits_and_has_no_serious_violation(browser, server):
    with opened_tab(browser) as tab:
        open_page(tab, server, "")
        for path in PAGES:
            go_to(tab, path)
            heading_levels_have_no_gaps(tab, path)
            in_both_schemes(tab, path)
            tab.set_viewport_size({"width": 390, "height": 900})
            at_rest(tab)
            fits_without_violations(tab, (path, "390 px"))
            tab.set_viewport_size({"width": 1280, "height": 900})


def heading_levels_have_no_gaps(tab, path: str) -> None:
    levels = tab.get_by_test_id("stMain").evaluate(
        "main => [...main.querySelectorAll('h1, h2, h3, h4, h5, h6')].map(heading => Number(heading.tagName[1]))"
    )
    assert levels[0] == 1, path
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels)), path


def test_no_page_with_results_has_one(browser, server):
    """Each result is computed once, on as few examples as the form allows."""
    with opened_tab(browser) as tab:
        open_page(tab, server, "scores?heads=3.5")
        in_both_schemes(tab, "scores with a head")
        for path, (button, result) in RESULTS.items():
            go_to(tab, path)
            main = tab.get_by_test_id("stMain")
            for name, key in LEAST.items():
                if main.get_by_role("slider", name=name).count():
                    main.get_by_role("slider", name=name).first.press(key)
                    at_rest(tab)
            main.get_by_role("button", name=button, exact=True).click()
            expect(main).to_contain_text(result, timeout=LONG)
            expect(tab.get_by_test_id("stSidebar").get_by_text("Idle", exact=True)).to_be_visible(timeout=LONG)
            at_rest(tab)
            in_both_schemes(tab, path)


def in_both_schemes(tab, name: str) -> None:
    """The page follows the browser's color scheme, is not wider than the window, and has no serious violation."""
    for scheme, background in BACKGROUNDS.items():
        tab.emulate_media(color_scheme=scheme)
        expect(tab.get_by_test_id("stApp")).to_have_css("background-color", background)
        at_rest(tab)
        fits_without_violations(tab, (name, scheme), AUDITS[scheme])
    tab.emulate_media(color_scheme="light")


def fits_without_violations(tab, what, options=ALL_RULES) -> None:
    assert tab.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, what
    assert violations(tab, options) == [], what


def test_the_report_has_none(browser, tmp_path):
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
    with opened_tab(browser) as tab:
        tab.goto(file.as_uri())
        for scheme in BACKGROUNDS:
            tab.emulate_media(color_scheme=scheme)
            assert violations(tab) == [], scheme
