"""Rapid input does not break the connection of a page."""

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import running_server

# choices that return to an earlier value while the answers to it are under way
RAPID_CHOICES = """group => {
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
    with running_server("tests/browser/apps/rapid_input_app.py") as address:
        yield address


def test_rapid_choices_are_answered(tab, server):
    """Streamlit's message cache, which config.toml turns off, lost messages; `tab` fails on the console error of that."""
    tab.goto(server)
    expect(tab.locator(".chosen")).to_have_text("0")
    tab.get_by_role("radiogroup").evaluate(RAPID_CHOICES)
    tab.get_by_text("3", exact=True).click()
    expect(tab.locator(".chosen")).to_have_text("3", timeout=30_000)
