"""Findings of the walk-through on the result pages, each of them repaired: S5, S6, S8 and S12."""

import re

from playwright.sync_api import expect

from tests.browser.page_actions import LONG, PAGES, at_rest, open_page, pick, slide


def evaluate_alpha(tab, server):
    """The Choice of alpha page after all masks have been evaluated on two examples."""
    open_page(tab, server, "alpha_choice")
    slide(tab, tab.locator(".st-key-choice_size input"), 2)
    slide(tab, tab.locator(".st-key-choice_seeds input"), 0)
    expect(tab.get_by_test_id("stMain")).to_contain_text("each evaluated on 2 examples")
    at_rest(tab)
    tab.get_by_role("button", name="Evaluate all masks").click()
    tab.get_by_role("heading", name="Recommendation").wait_for(timeout=LONG)
    at_rest(tab)


def test_s5_s12_accuracy_starts_no_run_and_the_published_curves_have_enough_random_rankings(tab, server):
    open_page(tab, server, "accuracy")
    main = tab.get_by_test_id("stMain")
    expect(tab.get_by_test_id("stProgress")).to_have_count(0)
    expect(tab.get_by_test_id("stSidebar")).to_contain_text("Idle")
    expect(main).to_contain_text("Published run of the built-in model: 960 evaluation examples")
    expect(tab.locator(".st-key-curves_figure .js-plotly-plot")).to_be_visible()
    expect(main).to_contain_text("20 random rankings")
    expect(main).not_to_contain_text("too few to tell")
    expect(tab.get_by_role("slider", name="Random rankings")).to_have_value("20")


def test_s6_the_page_states_the_new_alpha_after_the_advice_is_used(tab, server):
    evaluate_alpha(tab, server)
    main = tab.get_by_test_id("stMain")
    expect(main).to_contain_text("ranked by HIES (α = 0.5)")
    expect(main).to_contain_text("Recommended: HIS only")
    tab.get_by_role("button", name="Use HIS only (α = 1)").click()
    expect(main).to_contain_text("ranked by HIES (α = 1)")
    expect(main).not_to_contain_text("α = 0.5")
    expect(tab).to_have_url(re.compile("alpha=1"))


def test_s8_a_form_keeps_its_settings_when_the_page_is_left(tab, server):
    open_page(tab, server, "greedy")
    pick(tab, "Stopping rule", "Fixed number of steps")
    slide(tab, tab.locator(".st-key-greedy_steps input"), 3)
    tab.get_by_text("3 steps; each rescores on").wait_for()
    for page in ("orthogonality", "greedy"):
        at_rest(tab)
        tab.get_by_role("link", name=PAGES[page], exact=True).first.click()
        expect(tab.get_by_role("heading", level=1, name=PAGES[page])).to_be_visible()
    expect(tab.get_by_text("3 steps; each rescores on")).to_be_visible()
    expect(tab.locator(".st-key-greedy_steps input")).to_have_value("3")


def test_s12_after_cancel_one_statement_says_how_much_is_done(tab, server):
    open_page(tab, server, "greedy")
    tab.get_by_role("button", name="Run Greedy-Gnorm").click()
    tab.get_by_text("remaining.").first.wait_for(timeout=LONG)
    tab.locator(".st-key-cancel_greedy button").click()
    main = tab.get_by_test_id("stMain")
    expect(main.get_by_role("button", name=re.compile(r"Resume \(\d+ of 72 steps\)"))).to_be_enabled()
    expect(main.get_by_text("The run was cancelled after")).to_have_count(1)
    expect(main.get_by_text("No run yet")).to_have_count(0)
