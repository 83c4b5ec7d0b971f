"""The page around the live grid: two masks pinned with the keyboard only, and an override that the URL keeps."""

import re

from playwright.sync_api import expect

from tests.browser.page_actions import at_rest, open_page

FOCUSED = """() => {
    let at = document.activeElement;
    while (at && at.shadowRoot && at.shadowRoot.activeElement) at = at.shadowRoot.activeElement;
    return at ? (at.getAttribute("aria-label") || at.textContent || "").trim() : "";
}"""


def tab_to(tab, name: str, key: str = "Tab") -> None:
    """Press Tab until something of this name has the focus; at rest, for a redraw may take it away."""
    at_rest(tab)
    for _ in range(120):
        tab.keyboard.press(key)
        if re.search(name, tab.evaluate(FOCUSED)):
            return
    raise AssertionError(f"{name} was not reached with {key}")


def test_two_settings_are_pinned_and_read_by_the_keyboard_alone(tab, server):
    open_page(tab, server, "alpha?sparsity=0.5")
    main = tab.get_by_test_id("stMain")
    expect(main).to_contain_text("pin the mask as A and B to compare")
    tab_to(tab, "^alpha, from entropy")
    tab.keyboard.press("End")
    expect(tab).to_have_url(re.compile("alpha=1"))
    tab_to(tab, "Pin as A$")
    tab.keyboard.press("Enter")
    expect(main).to_contain_text("A: alpha 1, 50% sparsity")
    tab_to(tab, "^alpha, from entropy", "Shift+Tab")
    tab.keyboard.press("Home")
    expect(tab).to_have_url(re.compile("alpha=0"))
    tab_to(tab, "Pin as B$")
    tab.keyboard.press("Enter")
    expect(main).to_contain_text("; kept by A only: ")
    expect(main).to_contain_text("Overlap of pruned heads")


def test_a_head_kept_by_hand_is_in_the_link_and_restored(tab, server):
    open_page(tab, server, "alpha?sparsity=0.5")
    tab.locator(".lab [role=gridcell]").first.click()
    expect(tab).to_have_url(re.compile("overrides=k0.0"))
    expect(tab.get_by_test_id("stMain")).to_contain_text("1 head set to Always keep")
    open_page(tab, server, "alpha?sparsity=0.5&overrides=r0.0")
    expect(tab.get_by_test_id("stMain")).to_contain_text("1 head set to Always prune")
    expect(tab.locator(".lab [role=gridcell]").first).to_have_class(re.compile("removed"))
