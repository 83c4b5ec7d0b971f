"""A model pruned in the browser, and its export opened on its own: the code of the card, the report without a network."""

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from helpers.tiny_models import thorough
from playwright.sync_api import expect

import headprune_core as hp
from tests.browser.conftest import opened_tab
from tests.browser.page_actions import LONG, at_rest, box_of, downloaded, open_page, slide

ROOT = Path(__file__).resolve().parent.parent.parent
SIZE = 4  # evaluation examples


@pytest.fixture(scope="module")
def taken(browser, server, tmp_path_factory):
    """The zip of the page, unpacked: half of the heads pruned by HIS only, verified on a few examples."""
    place = tmp_path_factory.mktemp("taken")
    with opened_tab(browser) as tab:
        open_page(tab, server, "prune?alpha=1&sparsity=0.5")
        slide(tab, tab.get_by_role("slider", name="Evaluation examples"), SIZE)
        at_rest(tab)
        tab.get_by_role("button", name="Prune model").click()
        expect(tab.get_by_role("heading", name="Pruned model")).to_be_visible(timeout=LONG)
        expect(tab.get_by_test_id("stMain")).to_contain_text(f"identical predictions on 100.0% of {SIZE} examples")
        expect(tab.get_by_test_id("stMain")).to_contain_text("20 random masks of the same size")
        tab.get_by_role("button", name="Build zip").click()
        with zipfile.ZipFile(downloaded(tab, tab.get_by_role("button", name="Download zip"))) as archive:
            archive.extractall(place / "out")
    return place / "out"


def test_a_mask_is_edited_manually(tab, server):
    open_page(tab, server, "prune?alpha=1&sparsity=0.5")
    main = tab.get_by_test_id("stMain")
    tab.get_by_text("Manual", exact=True).click()
    expect(main).to_contain_text("Manual mask, 0 heads pruned: 72 of 72 heads kept")
    at_rest(tab)
    tab.get_by_role("button", name="Use Alpha page mask").click()
    expect(main).to_contain_text("Manual mask, 36 heads pruned: 36 of 72 heads kept")
    at_rest(tab)
    box = box_of(main.locator(".stDataFrame .dvn-scroller").first)  # over the canvas
    tab.mouse.click(box["x"] + 0.1 * box["width"], box["y"] + 50)  # layer 0, head 0, which alpha's mask removes
    expect(main).to_contain_text("Manual mask, 35 heads pruned: 37 of 72 heads kept")


def python_blocks(card: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", card, re.DOTALL)


def run_alone(code: str, folder: Path, **environment: str) -> str:
    """What code prints in a new process that starts in `folder`."""
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=os.environ | environment, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def accuracy_of(card: str) -> float:
    """What the card says that its lines print."""
    return float(re.search(r"print\(result.accuracy\[0\]\)  # (\d\.\d{4})", card)[1])


def test_the_cards_lines_load_the_model_in_a_new_process_and_give_the_cards_accuracy(taken):
    card = (taken / "model" / "README.md").read_text()
    load, measure = (block.replace('"pruned-model"', '"model"') for block in python_blocks(card)[:2])
    assert "headprune_core" in load
    printed = run_alone(f"{load}\n{measure}", taken, PYTHONPATH=str(ROOT))
    assert float(printed) == pytest.approx(accuracy_of(card), abs=5e-5)
    assert f"Accuracy: {accuracy_of(card):.1%}" in card


@thorough
def test_the_cards_lines_without_us_give_the_cards_accuracy_too(taken, tmp_path):
    texts = hp.load_examples(split="evaluation", size=SIZE)
    (tmp_path / "texts.json").write_text(json.dumps({name: list(texts[name]) for name in ("text", "label")}))
    card = (taken / "model" / "README.md").read_text()
    plain = next(block for block in python_blocks(card) if "load_file" in block or "safetensors" in block)
    assert "headprune" not in plain.replace("headprune_", "")
    measured = f"""
import sys
sys.modules["headprune_core"] = None  # not to be had
{plain.replace('"pruned-model"', repr(str(taken / "model")))}
import json
texts = json.load(open("texts.json"))
tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
with torch.inference_mode():
    answers = [model(**tokenizer(text, return_tensors="pt")).logits.argmax().item() for text in texts["text"]]
print(sum(a == b for a, b in zip(answers, texts["label"])) / len(answers), sum(p.numel() for p in model.parameters()))
"""
    accuracy, parameters = run_alone(measured, tmp_path, PYTHONPATH="").split()
    assert float(accuracy) == pytest.approx(accuracy_of(card), abs=5e-5)
    assert int(parameters) == 22714371 - 36 * 32 * (3 * 385 + 384)


def test_the_report_opens_without_a_network(browser, taken):
    context = browser.new_context(offline=True)
    page, asked, errors = context.new_page(), [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto((taken / "report.html").as_uri())
    expect(page.get_by_role("heading", level=1)).to_contain_text("36 of 72")
    expect(page.locator(".main-svg").first).to_be_visible()
    context.close()
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    assert errors == []
