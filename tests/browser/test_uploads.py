"""A large upload in a browser: its reading shows progress, Cancel stops it, and a button reads the file after all."""

import re

from helpers.tiny_models import thorough
from playwright.sync_api import expect

from tests.browser.page_actions import LONG, at_rest, expand, open_page

ROWS = 200_000


@thorough
def test_reading_a_large_upload_is_cancelled_and_repeated(tab, server, tmp_path):
    file = tmp_path / "large.csv"
    lines = (f"this is remark number {i} of many that were made about a flight,{i % 2}\n" for i in range(ROWS))
    file.write_text("text,label\n" + "".join(lines))
    open_page(tab, server, "")
    expand(tab, "Load another model or dataset", tab.get_by_role("radio", name="Upload"))
    tab.get_by_role("radio", name="Upload").click()
    at_rest(tab)
    tab.locator("input[type=file]").set_input_files(file)
    form = tab.get_by_test_id("stExpander").first
    expect(form.get_by_test_id("stProgress")).to_contain_text(
        re.compile("Detecting|Decoding|Checking|Starting"), timeout=LONG
    )
    form.get_by_role("button", name="Cancel").click()
    expect(form).to_contain_text("Reading the file was cancelled.")
    expect(form.get_by_test_id("stProgress")).to_have_count(0)
    expect(form).not_to_contain_text("Reading plan")
    form.get_by_role("button", name="Read file").click()
    expect(form).to_contain_text(f"{ROWS:,} of {ROWS:,} rows can be used", timeout=LONG)
