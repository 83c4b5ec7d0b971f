"""What a hasty hand may not break: the connection of any page."""

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import running_server

# choices that come back while their answers are under way
HASTE = """group => {
    const inputs = [...group.querySelectorAll("input")];
    const wait = (ms) => new Promise((done) => setTimeout(done, ms));
    return (async () => {
        for (let round = 0; round < 20; round++) {
            for (const number of [1, 2, 3, 4, 0]) {
                inputs[number].click();
                await wait(10);
            }
            await wait(300);
        }
    })();
}"""


@pytest.fixture(scope="module")
def server(browser):
    with running_server("tests/browser/rapid_input_app.py") as address:
        yield address


def test_choices_in_haste_are_answered(tab, server):
    """Streamlit's cache of messages, which the settings turn off, lost some; `tab` sees what the console says of it."""
    tab.goto(server)
    expect(tab.locator(".chosen")).to_have_text("0")
    tab.get_by_role("radiogroup").evaluate(HASTE)
    tab.get_by_text("3", exact=True).click()
    expect(tab.locator(".chosen")).to_have_text("3", timeout=30_000)
