"""Repaired findings on the pages of data, scores and alpha that only a browser shows: errors, forms, status, contrast."""

import io
import re

from PIL import Image
from playwright.sync_api import expect

from tests.browser.conftest import opened_tab
from tests.browser.page_actions import BACKGROUNDS, PAGES, at_rest, expand, open_page


def open_link(tab, name: str) -> None:
    """Follow the navigation to a page."""
    tab.get_by_test_id("stSidebar").get_by_role("link", name=name, exact=True).click()
    expect(tab.get_by_role("heading", level=1, name=name, exact=True)).to_be_visible()
    at_rest(tab)


def test_an_error_is_shown_by_its_form_only_and_can_be_closed(tab, server):
    open_page(tab, server, "")
    expand(tab, "Load another model or dataset", tab.get_by_role("radio", name="Local folder"))
    tab.get_by_role("radio", name="Local folder").click()
    at_rest(tab)
    tab.get_by_label("Folder path").fill("/nowhere/at/all")
    tab.get_by_label("Folder path").press("Enter")
    tab.get_by_role("button", name="Load and score").click()
    error = tab.get_by_test_id("stExpander").get_by_test_id("stAlert")
    expect(error).to_contain_text("Folder not found: '/nowhere/at/all'")
    expect(error).to_contain_text("The previous model and data are still loaded.")
    expect(tab.get_by_test_id("stSidebar")).to_contain_text("72 heads")
    open_link(tab, PAGES["alpha"])
    expect(tab.get_by_test_id("stAlert")).to_have_count(0)
    open_link(tab, PAGES[""])
    expect(error).to_be_visible()
    expect(tab.get_by_label("Folder path")).to_have_value("/nowhere/at/all")  # the form has kept its settings
    tab.get_by_role("button", name="Close", exact=True).click()
    expect(error).to_have_count(0)


def test_orthogonality_promises_nothing_and_links_to_the_measurement(tab, server):
    open_page(tab, server, "orthogonality")
    main = tab.get_by_test_id("stMain")
    expect(main).to_contain_text("Low correlation is necessary, not sufficient")
    expect(main.get_by_test_id("stAlertContentSuccess")).to_have_count(0)
    main.get_by_role("link", name=f"Open {PAGES['alpha_choice']}").click()
    expect(tab.get_by_role("heading", level=1, name=PAGES["alpha_choice"])).to_be_visible()


def test_a_phone_shows_what_is_loaded_and_running_below_the_heading(browser, server):
    with opened_tab(browser, width=390) as tab:
        open_page(tab, server, "scores")
        status = tab.locator(".st-key-phone_status")
        expect(status).to_contain_text(re.compile("MiniLM.*tweets.*Idle"))
        expect(status).to_be_visible()
        tab.set_viewport_size({"width": 1280, "height": 900})
        expect(status).to_be_hidden()


def test_captions_and_chosen_segments_have_a_contrast_of_4_5(tab, server):
    open_page(tab, server, "scores")
    for scheme, background in BACKGROUNDS.items():
        tab.emulate_media(color_scheme=scheme)
        expect(tab.get_by_test_id("stApp")).to_have_css("background-color", background)
        at_rest(tab)
        for selector in ("[data-testid=stCaptionContainer] p", "[data-testid^=stBaseButton-segmented_controlActive]"):
            for element in tab.locator(selector).all():
                if element.is_visible():
                    assert element.evaluate(CONTRAST) >= 4.5, (scheme, selector, element.inner_text())


# The contrast of an element's text with the background behind it, opacities included.
CONTRAST = """element => {
    const parse = (color) => {
        const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
        canvas.fillStyle = color;
        canvas.fillRect(0, 0, 1, 1);
        const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
        return [r, g, b, a / 255];
    };
    const over = (front, back) => [0, 1, 2].map(i => front[i] * front[3] + back[i] * (1 - front[3])).concat(1);
    const chain = [];
    for (let node = element; node; node = node.parentElement) chain.unshift(getComputedStyle(node));
    let back = [255, 255, 255, 1], opacity = 1;
    for (const style of chain) {
        back = over(parse(style.backgroundColor), back);
        opacity *= Number(style.opacity);
    }
    const color = parse(chain.at(-1).color);
    const text = over([...color.slice(0, 3), color[3] * opacity], back);
    const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
        .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const [high, low] = [light(text), light(back)].sort((a, b) => b - a);
    return (high + 0.05) / (low + 0.05);
}"""


def test_the_sliders_of_the_grid_have_a_dark_track_in_the_dark_theme(browser, server):
    with opened_tab(browser, color_scheme="dark") as tab:
        open_page(tab, server, "alpha")
        slider = tab.locator(".lab input.alpha")
        assert slider.evaluate("input => getComputedStyle(input).appearance") == "none"
        image = Image.open(io.BytesIO(slider.screenshot())).convert("RGB")
        assert max(image.getpixel((int(0.9 * image.width), image.height // 2))) < 140  # right of the thumb, the track


def test_one_message_names_all_bad_settings_of_a_url(tab, server):
    open_page(tab, server, "alpha?alpha=7&sparsity=x&min_heads=-1")
    toast = tab.get_by_test_id("stToast")
    expect(toast).to_have_count(1)
    for name in ("alpha (", "sparsity (", "min_heads ("):
        expect(toast).to_contain_text(name)
