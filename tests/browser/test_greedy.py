"""The Greedy-Gnorm page in a real Chromium."""

import json

import pytest

from .test_app import open_page


@pytest.fixture
def ran(tab, server):
    """The page after a run of three steps on a few texts."""
    open_page(tab, server, "greedy")
    tab.get_by_text("Nothing has been removed yet").wait_for()
    tab.locator(".st-key-greedy_end input").click()
    tab.get_by_role("option", name="After some steps").click()
    steps = tab.locator(".st-key-greedy_steps input")
    steps.wait_for()
    steps.focus()
    for _ in range(9):
        tab.keyboard.press("ArrowLeft")
    tab.get_by_text("3 steps, each one pass").wait_for()
    tab.get_by_role("button", name="Run Greedy-Gnorm").click()
    tab.get_by_text("Take it with you").wait_for()
    return tab


def test_a_short_run_is_shown_step_by_step(ran):
    ran.get_by_text("0 heads are gone, 72 are left.").wait_for()
    step = ran.locator(".st-key-greedy_step input")
    step.focus()
    ran.keyboard.press("ArrowRight")
    ran.get_by_text("1 heads are gone, 71 are left.").wait_for()
    ran.get_by_role("button", name="Play").click()
    ran.get_by_text("3 heads are gone, 69 are left. The run ends here.").wait_for()
    with ran.expect_download() as download:
        ran.locator(".st-key-json_greedy_gnorm button").click()
    with open(download.value.path()) as file:
        assert len(json.load(file)["order"]) == 3


def test_what_a_removal_did_to_the_others_is_drawn(ran):
    ran.get_by_role("button", name="Compare gradients before and after").click()
    ran.get_by_text("scores again after every removal").wait_for()
    assert ran.locator(".st-key-shift_map .heatmaplayer").count() == 6


def test_a_run_can_be_cancelled_and_keeps_its_steps(tab, server):
    open_page(tab, server, "greedy")
    tab.get_by_role("button", name="Run Greedy-Gnorm").click()
    tab.get_by_text("heads are gone").first.wait_for()
    tab.locator(".st-key-cancel_greedy button").click()
    tab.get_by_text("The run was cut short. Run it again to go on from here.").wait_for()
