"""Text from links, datasets and errors in a real browser: no request leaves, and no image, link or formula appears."""

from urllib.parse import quote, urlsplit

from playwright.sync_api import expect

from tests.browser.page_actions import LONG, at_rest, expand

MARK = (
    "![i](http://evil.test/x) <b>bold</b> $m$ :material/delete: :red[r] [w](http://evil.test) "
    "www.evil.test a@evil.test https://evil.test/y"
)
LIVE = "img[src*='evil'], a[href*='evil'], .katex, [data-testid='stMain'] b, [data-testid='stToast'] b"


def nothing_live(tab) -> None:
    assert tab.locator(LIVE).count() == 0
    assert tab.get_by_text("delete", exact=True).count() == 0  # the icon's own text


def test_text_from_outside_is_text(tab, server):
    foreign = []
    tab.on("request", lambda request: foreign.append(request.url) if "evil" in urlsplit(request.url).netloc else None)
    tab.goto(f"{server}?alpha={quote(MARK, safe='')}&{quote(MARK, safe='')}=1")
    toast = tab.get_by_test_id("stToast")
    expect(toast).to_contain_text("![i](http", timeout=LONG)
    nothing_live(tab)
    at_rest(tab)
    folder = tab.get_by_role("textbox", name="Folder path")
    expand(tab, "Load another model or dataset", tab.get_by_role("radio", name="Local folder").or_(folder).first)
    tab.get_by_role("radio", name="Local folder").click()
    folder.fill(f"/nowhere/{MARK}")
    folder.press("Enter")
    at_rest(tab)
    tab.get_by_role("radio", name="Paste").click()
    lines = tab.get_by_role("textbox", name="Examples, one per line")
    lines.fill("\n".join(f"text {i} {MARK}\tlabel {i % 2} {MARK}" for i in range(12)))
    lines.press("Control+Enter")
    expect(tab.get_by_text("Reading plan")).to_be_visible(timeout=LONG)
    at_rest(tab)
    nothing_live(tab)
    assert foreign == []
    assert not any(page.url.startswith("http://evil") for page in tab.context.pages)
