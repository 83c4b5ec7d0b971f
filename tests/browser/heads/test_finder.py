"""The free axes and the head finder in a browser: lasso and click select heads, which the URL and other pages show."""

import re
from urllib.parse import parse_qs, urlparse

from playwright.sync_api import expect

from tests.browser.conftest import opened_tab
from tests.browser.page_actions import LONG, at_rest, box_of, go_to, open_page
from tests.browser.test_accessibility import fits_without_violations, heading_levels_have_no_gaps, in_both_schemes


def heads_in(url: str) -> set[str]:
    return {head for value in parse_qs(urlparse(url).query).get("heads", []) for head in value.split(",")}


def test_lasso_and_click_select_heads(tab, server):
    open_page(tab, server, "orthogonality")
    chart = tab.locator(".st-key-head_scatter")
    plot = chart.locator(".nsewdrag").first
    tab.get_by_test_id("stCheckbox").get_by_text("Draw a lasso").click()
    expect(tab.get_by_role("switch", name="Draw a lasso")).to_be_checked()
    at_rest(tab)
    box = box_of(plot)
    corners = ((0.45, -0.02), (1.0, -0.02), (1.0, 1.0), (0.45, 1.0), (0.45, -0.02))  # scaled HIS above about 0.45
    at = [(box["x"] + x * box["width"], box["y"] + max(y, 0.01) * box["height"]) for x, y in corners]
    tab.mouse.move(*at[0])
    tab.mouse.down()
    for place in at[1:]:
        tab.mouse.move(*place, steps=8)
    tab.mouse.up()
    expect(tab).to_have_url(re.compile("heads="))
    at_rest(tab)
    several = heads_in(tab.url)
    assert 5 <= len(several) <= 40
    assert {"5.9", "4.8", "2.6"} <= several  # the heads with the highest HIS of their layers
    expect(chart.locator(".legendtext").filter(has_text="Selected")).to_have_count(1)  # the frames

    go_to(tab, "finder")
    expect(tab.get_by_test_id("stMain")).to_contain_text("10 of 72 heads by HIS (nats); ")
    tab.get_by_role("button", name="Select these heads").click()
    at_rest(tab)
    assert len(heads_in(tab.url)) == 10
    expect(tab.get_by_test_id("stMain")).to_contain_text("10 of 72 heads by HIS (nats); 10 of them selected.")

    go_to(tab, "orthogonality")
    tab.get_by_role("button", name="Clear selection").first.click()
    expect(tab).not_to_have_url(re.compile("heads="))
    at_rest(tab)
    assert not heads_in(tab.url)
    box_of(plot)
    point = chart.locator(".scatterlayer .trace").first.locator("path.point").nth(5 * 12 + 9)  # apart from all others
    circle = point.bounding_box()
    tab.mouse.click(circle["x"] + circle["width"] / 2, circle["y"] + circle["height"] / 2)
    expect(tab).to_have_url(re.compile(r"heads=5\.9$"))


def test_pages_with_traits_fit_and_have_no_serious_violation(browser, server):
    with opened_tab(browser) as tab:
        open_page(tab, server, "finder")
        compute = tab.get_by_role("button", name="Compute head traits")
        roles = tab.get_by_role("heading", name="Roles", exact=True)
        expect(compute.or_(roles).first).to_be_visible()
        if compute.is_visible():
            compute.click()
        expect(roles).to_be_visible(timeout=LONG)
        for path in ("finder", "orthogonality"):
            go_to(tab, path)
            heading_levels_have_no_gaps(tab, path)
            in_both_schemes(tab, f"{path} with traits")
            tab.set_viewport_size({"width": 390, "height": 900})
            at_rest(tab)
            fits_without_violations(tab, (f"{path} with traits", "390 px"))
            tab.set_viewport_size({"width": 1280, "height": 900})
