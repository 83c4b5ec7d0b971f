"""The Greedy-Gnorm page in a real Chromium."""

import json

import pytest
from helpers.tiny_models import thorough
from playwright.sync_api import expect

from tests.browser.page_actions import LONG, at_rest, downloaded, open_page, pick, slide


@pytest.fixture
def ran(tab, server):
    """The page after a run of three steps on a few texts."""
    open_page(tab, server, "greedy")
    tab.get_by_text("No run yet.").wait_for()
    pick(tab, "Stopping rule", "Fixed number of steps")
    steps = tab.locator(".st-key-greedy_steps input")
    steps.wait_for()
    slide(tab, steps, 3)
    tab.get_by_text("3 steps; each rescores on").wait_for()
    at_rest(tab)
    tab.get_by_role("button", name="Run Greedy-Gnorm").click()
    tab.get_by_role("heading", name="Export", exact=True).wait_for(timeout=LONG)
    at_rest(tab)
    return tab


def test_a_short_run_is_shown_step_by_step_and_its_effect_on_the_other_gradients(ran):
    ran.get_by_text("3 heads pruned, 69 remaining. The run ends here.").wait_for()
    slide(ran, ran.locator(".st-key-greedy_step input"), 1)
    ran.get_by_text("1 head pruned, 71 remaining.").wait_for()
    at_rest(ran)
    ran.get_by_role("button", name="Play").click()
    ran.get_by_text("3 heads pruned, 69 remaining. The run ends here.").wait_for()
    ran.get_by_role("button", name="Play").wait_for()  # again, after the page has stopped playing
    file = downloaded(ran, ran.locator(".st-key-json_greedy_gnorm button"))
    assert len(json.loads(file.read_text())["order"]) == 3
    slide(ran, ran.locator(".st-key-greedy_step input"), 1)  # the last step has no next head
    at_rest(ran)
    ran.get_by_role("button", name="Compare gradients before and after").click()
    ran.get_by_text("changed the query gradients in").first.wait_for(timeout=LONG)
    expect(ran.locator(".st-key-shift_map .heatmaplayer")).to_have_count(6)


@thorough
def test_a_run_can_be_cancelled_and_keeps_its_steps(tab, server):
    open_page(tab, server, "greedy")
    tab.get_by_role("button", name="Run Greedy-Gnorm").click()
    tab.get_by_text("remaining.").first.wait_for(timeout=LONG)
    tab.locator(".st-key-cancel_greedy button").click()
    expect(tab.get_by_text("The run was cancelled after")).to_be_visible()
    expect(tab.get_by_text("remaining.").first).to_be_visible()
    assert int(tab.locator(".st-key-greedy_step").get_by_role("slider").get_attribute("max")) > 0
