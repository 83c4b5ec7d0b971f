"""The inspector, the page of one text and the drawer in a browser: links, typing, pinning, and narrow screens."""

import re

from playwright.sync_api import expect

from tests.browser.conftest import opened_tab
from tests.browser.page_actions import LONG, PAGES, at_rest, go_to, open_page
from tests.browser.test_accessibility import fits_without_violations, heading_levels_have_no_gaps, in_both_schemes

TEXT = "The crew was wonderful."


def test_a_link_shows_the_same_head_and_text_in_a_new_browser(tab, server, browser):
    open_page(tab, server, "text?heads=4.9")
    box = tab.get_by_role("textbox", name="Text")
    box.fill(TEXT)
    box.press("Control+Enter")
    main = tab.get_by_test_id("stMain")
    expect(tab).to_have_url(re.compile(r"text=The\+crew\+was\+wonderful"))
    at_rest(tab)
    expect(main.get_by_test_id("stMetric").first).to_contain_text("positive")
    expect(main.get_by_test_id("stMetric")).to_have_count(3)  # all heads, the current mask, without head 4.9
    expect(main).to_contain_text(re.compile("No single head changes the prediction|the prediction changes:"), timeout=LONG)
    go_to(tab, "head")
    expect(tab).to_have_url(re.compile(r"heads=4\.9.*text=The"))
    link = tab.url
    other = browser.new_context(viewport={"width": 1280, "height": 900})
    try:
        page = other.new_page()
        page.goto(link)
        expect(page.get_by_role("heading", name="Layer 4, head 9")).to_be_visible(timeout=LONG)
        expect(page.get_by_role("textbox", name="Text")).to_have_value(TEXT)
        at_rest(page)
        token = page.get_by_role("option", name=re.compile("wonderful")).first
        token.click()  # pins it
        expect(page.get_by_test_id("stMain")).to_contain_text(re.compile("wonderful"))
        expect(token).to_have_attribute("aria-selected", "true")
    finally:
        other.close()


def test_the_drawer_is_beside_the_page_or_a_sheet_and_leads_to_the_inspector(tab, server):
    open_page(tab, server, "alpha?heads=5.9")
    drawer = tab.locator(".st-key-drawer")
    expect(drawer).to_contain_text("Layer 5, head 9")
    place = drawer.bounding_box()
    assert place["x"] > 640
    assert place["x"] + place["width"] <= 1280
    drawer.get_by_role("button", name="Next head").press("Enter")
    expect(drawer).to_contain_text("Layer 5, head 10")
    expect(tab).to_have_url(re.compile(r"heads=5\.10"))
    at_rest(tab)
    tab.set_viewport_size({"width": 390, "height": 844})
    place = drawer.bounding_box()
    assert place["y"] >= 844 / 2
    assert place["width"] <= 390
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    drawer.get_by_role("link", name=f"Open {PAGES['head']}").click()
    expect(tab.get_by_role("heading", name="Layer 5, head 10")).to_be_visible()
    expect(drawer).to_have_count(0)
    at_rest(tab)
    tab.get_by_role("button", name="Clear selection").click()
    expect(tab.get_by_test_id("stMain")).to_contain_text("No head is selected.")
    expect(tab).not_to_have_url(re.compile("heads="))


def test_both_pages_with_results_fit_and_have_no_serious_violation(browser, server):
    with opened_tab(browser) as tab:
        open_page(tab, server, "head?heads=4.9&text=The+crew+was+wonderful.")
        main = tab.get_by_test_id("stMain")
        for button, result in (
            ("Compute head traits", "Uniform"),
            ("Measure effect", "Gate dial"),
            ("Compare heads", "Distance"),
        ):
            asked = main.get_by_role("button", name=button, exact=True)
            if asked.is_visible():  # else another session of this server has computed it
                asked.click()
            expect(main.get_by_text(result).first).to_be_visible(timeout=LONG)
            at_rest(tab)
        for path in ("head", "text"):
            go_to(tab, path)
            heading_levels_have_no_gaps(tab, path)
            in_both_schemes(tab, f"{path} with results")
            tab.set_viewport_size({"width": 390, "height": 900})
            at_rest(tab)
            fits_without_violations(tab, (f"{path} with results", "390 px"))
            tab.set_viewport_size({"width": 1280, "height": 900})
