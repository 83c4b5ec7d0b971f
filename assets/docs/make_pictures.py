"""Create the README's screenshots of the app, and write figures as SVG (needs requirements-dev.txt and Chromium).

    python -m assets.docs.make_pictures

Writes alpha.png and prune.png beside this file.
"""

import sys
from pathlib import Path

import plotly.graph_objects as go
from playwright.sync_api import sync_playwright

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent.parent / "tests"))
from browser.conftest import ARGUMENTS, CHROMIUM, running_server  # noqa: E402  (the path must be set first)


def write_svg(figures: dict[str, go.Figure], width: int = 1000, height: int = 560) -> None:
    """Write each figure as Plotly renders it to NAME.svg beside this file."""
    with sync_playwright() as playwright:
        page = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS).new_page()
        for name, figure in figures.items():
            page.set_content(figure.to_html(include_plotlyjs=True))
            page.wait_for_selector(".js-plotly-plot .legend")
            size = f"{{format: 'svg', width: {width}, height: {height}}}"
            drawn = f"Plotly.toImage(document.querySelector('.js-plotly-plot'), {size})"
            url = page.evaluate(f"{drawn}.then(decodeURIComponent)")
            (HERE / f"{name}.svg").write_text(url[url.index(",") + 1 :])


def main() -> None:
    with sync_playwright() as playwright, running_server() as address:
        page = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS).new_page(
            viewport={"width": 1280, "height": 900}, device_scale_factor=1.5
        )
        page.goto(address + "alpha?alpha=0.8&sparsity=0.3")
        page.wait_for_selector("text=Compared with HIS only", timeout=120_000)
        page.wait_for_timeout(2000)
        page.screenshot(path=HERE / "alpha.png")
        page.goto(address + "prune?alpha=1&sparsity=0.3")
        page.get_by_role("button", name="Prune model").click(timeout=120_000)
        page.get_by_role("heading", name="Pruned model").wait_for(timeout=120_000)
        page.wait_for_timeout(2000)
        page.get_by_role("heading", name="Pruned model").evaluate("heading => heading.scrollIntoView()")
        page.wait_for_timeout(500)
        page.screenshot(path=HERE / "prune.png")


if __name__ == "__main__":
    main()
