"""How the pictures of the README are made, with the app and a Chromium (the developers' requirements).

    python -m headprune_core curves --seeds 20 --sparsities 0 .1 .2 .3 .4 .5 .6 .7 .8 .9 --out curves.json   # 15 minutes
    python assets/docs/make_pictures.py curves.json

Writes curves.svg, curves.csv (every point of the figure) and alpha.png beside this file, and prints the README's table.
"""

import json
import sys
from pathlib import Path

import pandas as pd

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
from headprune_core.figures import curves_figure, label  # noqa: E402  (the script runs from any folder)


def curves_svg(page, curves: pd.DataFrame) -> str:
    """The figure as Plotly itself draws it to SVG."""
    figure = curves_figure(curves, chance=1 / 3).update_layout(template="plotly_white", width=1000)
    page.set_content(figure.to_html(include_plotlyjs=True))
    page.wait_for_selector(".js-plotly-plot .legend")
    script = "Plotly.toImage(document.querySelector('.js-plotly-plot'), {format: 'svg', width: 1000, height: 520})"
    return page.evaluate(f"{script}.then(url => decodeURIComponent(url.slice(url.indexOf(',') + 1)))")


def table(curves: pd.DataFrame) -> str:
    """Accuracy in per cent by method, with the range of the random orders."""
    wide = curves[curves.method != "random"].pivot(index="sparsity", columns="method", values="accuracy")
    random = curves[curves.method == "random"].groupby("sparsity").accuracy
    names = curves.method[curves.method != "random"].unique()
    lines = [
        "| heads removed | " + " | ".join(map(label, names)) + " | random, 20 orders |",
        "|---" * (len(names) + 2) + "|",
    ]
    for sparsity, row in wide.iterrows():
        span = f"{100 * random.min()[sparsity]:.1f} to {100 * random.max()[sparsity]:.1f}"
        values = " | ".join(f"{100 * row[name]:.1f}" for name in names)
        lines.append(f"| {sparsity:.0%} | {values} | {span} |")
    return "\n".join(lines)


def main(document: str) -> None:
    from browser.conftest import ARGUMENTS, CHROMIUM, running_server
    from playwright.sync_api import sync_playwright

    curves = pd.DataFrame(json.loads(Path(document).read_text())["curves"])
    curves.to_csv(HERE / "curves.csv", index=False, float_format="%.6g")
    with sync_playwright() as playwright, running_server() as address:
        page = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS).new_page(
            viewport={"width": 1280, "height": 900}, device_scale_factor=1.5
        )
        (HERE / "curves.svg").write_text(curves_svg(page, curves))
        page.goto(address + "alpha?alpha=0.8&sparsity=0.3")
        page.wait_for_selector("text=Against HIS alone", timeout=120_000)
        page.wait_for_timeout(2000)
        page.screenshot(path=HERE / "alpha.png")
    print(table(curves))


if __name__ == "__main__":
    main(sys.argv[1])
