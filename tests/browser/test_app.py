"""The app in a browser: every page by its own URL, the alpha grid during a drag, curves, the inspector, uploads."""

import re
from contextlib import ExitStack
from pathlib import Path

from helpers.tiny_models import thorough
from playwright.sync_api import expect

from tests.browser.conftest import opened_tab, running_server
from tests.browser.page_actions import LONG, PAGES, at_rest, box_of, expand, open_page, pick, slide


def test_a_fresh_server_opens_pages_by_their_own_links_and_loads_again_after_cancel(browser):
    """All are requested before the server has loaded the model; the load of one is cancelled and asked for again."""
    with running_server() as address, ExitStack() as stack:
        tabs = {path: stack.enter_context(opened_tab(browser)) for path in ("", "alpha", "prune")}
        for path, tab in tabs.items():
            tab.goto(address + path, wait_until="commit")
        first = tabs[""]
        first.bring_to_front()
        first.get_by_role("button", name="Cancel").click()
        expect(first.get_by_test_id("stAlert")).to_contain_text("was cancelled")
        first.get_by_role("button", name="Reload built-in model").click()
        for path, tab in tabs.items():
            tab.bring_to_front()
            expect(tab.get_by_role("heading", level=1, name=PAGES[path])).to_be_visible(timeout=LONG)
            at_rest(tab)
            expect(tab.get_by_test_id("stSidebar")).to_contain_text("72 heads")
            expect(tab.get_by_role("dialog")).to_have_count(0)
            assert tab.url == address + path
        expect(first.get_by_test_id("stAlert")).to_have_count(0)


def test_dragging_alpha_changes_the_mask_before_the_mouse_is_released(tab, server):
    open_page(tab, server, "alpha")
    slider = tab.get_by_role("slider", name=re.compile("^alpha"))
    lab = tab.locator(".lab")
    before = lab.get_attribute("data-mask")
    box = box_of(slider)
    middle = box["y"] + box["height"] / 2
    tab.mouse.move(box["x"] + box["width"] / 2, middle)
    tab.mouse.down()
    seen = {before}
    for share in (0.6, 0.7, 0.8, 0.9):
        tab.mouse.move(box["x"] + share * box["width"], middle)
        tab.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")  # a frame later
        seen.add(lab.get_attribute("data-mask"))
    assert len(seen) > 3
    assert "alpha=" not in tab.url  # Python has not heard of it yet
    tab.mouse.up()
    expect(tab).to_have_url(re.compile("alpha=0.9"))
    expect(tab.get_by_test_id("stMain")).to_contain_text("distinct masks")


def test_the_grid_can_be_read_with_the_keyboard(tab, server):
    open_page(tab, server, "alpha")
    tab.locator(".lab [role=gridcell]").first.focus()
    tab.keyboard.press("ArrowRight")
    tab.keyboard.press("ArrowDown")
    expect(tab.locator(".lab .detail")).to_contain_text("Layer 1, head 1")
    slider = tab.get_by_role("slider", name=re.compile("^sparsity"))
    slider.focus()
    for _ in range(5):
        tab.keyboard.press("ArrowRight")
    expect(tab.locator(".lab .status")).to_contain_text("25 of 72 heads pruned")
    expect(tab).to_have_url(re.compile("sparsity=0.35"))


def test_heads_kept_by_hand_can_be_too_many_and_undone(tab, server):
    open_page(tab, server, "alpha")
    lab = tab.locator(".lab")
    for row in range(5):
        lab.get_by_role("button", name=f"select layer {row}").click()
        lab.get_by_role("button", name="Always keep", exact=True).click()
    expect(lab.locator(".status")).to_contain_text(
        "The target is 22 pruned heads, but only 12 can be pruned because 60 heads are always kept"
    )
    expect(tab.get_by_test_id("stAlert")).to_contain_text("the constraints allow only 12 of 72")
    lab.get_by_role("button", name="Undo").click()
    expect(lab.locator(".status")).to_contain_text("22 of 72 heads pruned")
    expect(tab.get_by_test_id("stAlert")).to_have_count(0)
    expect(lab.locator(".strip-count")).to_contain_text("distinct masks")


def test_a_link_restores_the_setting(tab, server):
    open_page(tab, server, "alpha?alpha=0.8&sparsity=0.5&entropy_direction=high")
    expect(tab.locator(".lab .status")).to_contain_text("36 of 72 heads pruned")
    assert tab.get_by_role("slider", name=re.compile("^alpha")).input_value() == "0.8"
    assert tab.locator(".lab select.keep").input_value() == "high"


def test_a_click_on_a_cell_opens_the_drawer(tab, server):
    open_page(tab, server, "scores")
    tab.locator(".maps .grid").first.get_by_role("gridcell", name=re.compile("^Layer 5, head 9:")).click()
    drawer = tab.locator(".st-key-drawer")
    expect(drawer).to_contain_text("Layer 5, head 9")
    expect(tab).to_have_url(re.compile("heads=5.9"))
    drawer.get_by_role("button", name="Clear selection").click()
    expect(drawer).to_have_count(0)


def test_scores_are_computed_by_other_options_and_every_page_uses_them(tab, server):
    open_page(tab, server, "scores")
    expand(tab, "Scoring options", tab.get_by_role("radio", name="Per token"))
    tab.get_by_role("radio", name="Per token").click()
    expect(tab).to_have_url(re.compile("reduction=token"))
    expect(tab.get_by_test_id("stMain")).to_contain_text("HIS reduction: Per token")
    pick(tab, "HIS objective", "Model prediction")
    tab.get_by_role("button", name="Rescore heads").click()
    expect(tab).to_have_url(re.compile("objective=prediction"), timeout=LONG)
    at_rest(tab)  # until then, the button of the run before can still be there
    expect(tab.get_by_role("button", name="Rescore heads")).to_be_disabled()
    tab.get_by_role("link", name="Alpha").first.click()
    expect(tab.get_by_role("heading", level=1, name=PAGES["alpha"])).to_be_visible()
    expect(tab).to_have_url(re.compile("alpha\\?his_reduction=token&objective=prediction"))


@thorough
def test_curves_show_progress_and_can_be_cancelled_and_resumed(tab, server):
    open_page(tab, server, "accuracy")
    main = tab.get_by_test_id("stMain")
    expect(main.get_by_test_id("stProgress")).to_have_count(0)  # nothing starts by itself
    slide(tab, tab.get_by_role("slider", name="Evaluation examples"), 960)  # too many to finish before Cancel is clicked
    main.get_by_role("slider", name="Random rankings").press("Home")
    at_rest(tab)
    tab.get_by_role("button", name="Evaluate curves").click()
    expect(main.get_by_test_id("stProgress")).to_contain_text("Measuring accuracy")
    # The first points are drawn while the others are evaluated.
    expect(main.locator(".st-key-curves_figure .js-plotly-plot")).to_be_visible()
    main.get_by_role("button", name="Cancel").click()
    expect(main.get_by_test_id("stProgress")).to_have_count(0)
    expect(main).to_contain_text("The run was cancelled after")
    expect(main.get_by_role("button", name="Resume")).to_be_enabled()
    expect(tab.get_by_role("button", name="Evaluate curves")).to_be_enabled()


def test_the_ablation_can_be_cancelled(tab, server):
    open_page(tab, server, "uncertainty")
    main = tab.get_by_test_id("stMain")
    texts = tab.get_by_role("slider", name="Evaluation examples")
    run = tab.get_by_role("button", name="Run leave-one-out")
    slide(tab, texts, 960)  # as many as are not done before Cancel is clicked
    expect(main).to_contain_text("73 forward passes over 960 examples")
    run.click()
    expect(main.get_by_test_id("stProgress")).to_contain_text("Masking one head at a time")
    main.get_by_role("button", name="Cancel").click()
    expect(main.get_by_test_id("stProgress")).to_have_count(0)
    expect(main).to_contain_text("No ablation results yet")


def upload(tab, path: Path):
    expand(tab, "Load another model or dataset", tab.get_by_role("radio", name="Upload"))
    tab.get_by_role("radio", name="Upload").click()
    at_rest(tab)
    tab.locator("input[type=file]").set_input_files(path)


def test_a_file_that_is_not_what_it_says_is_refused_and_nothing_is_lost(tab, server, tmp_path):
    open_page(tab, server, "")
    picture = tmp_path / "tweets.csv"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(64))
    upload(tab, picture)
    expect(tab.get_by_test_id("stAlert").last).to_contain_text("looks like a PNG image, not plain text")
    expect(tab.get_by_role("button", name="Load and score")).to_be_disabled()
    expect(tab.get_by_test_id("stSidebar")).to_contain_text("72 heads")


def test_one_users_work_does_not_show_in_anothers(browser, server, tmp_path):
    table = tmp_path / "secret.csv"
    table.write_text("text\n" + "".join(f"a private remark number {i}\n" for i in range(6)))
    with opened_tab(browser) as mine, opened_tab(browser) as yours:
        open_page(mine, server, "")
        open_page(yours, server, "")
        upload(mine, table)
        mine.get_by_role("button", name="Load and score").click()
        expect(mine.get_by_test_id("stSidebar")).to_contain_text("secret.csv")
        yours.reload()
        expect(yours.get_by_test_id("stSidebar")).to_contain_text("built-in tweets")
        expect(yours.get_by_test_id("stApp")).not_to_contain_text("secret.csv")
