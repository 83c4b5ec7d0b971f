"""The notebook widget: in a real JupyterLab page, its data, and the error without anywidget."""

import importlib.util
import json
import os
import subprocess
import sys
from contextlib import contextmanager

import pytest
from playwright.sync_api import expect

import headprune_core as hp
from headprune_core.inspection import attention_widget
from tests.browser.conftest import ROOT, free_port, new_tab, wait_for_server

from .conftest import token

SENTENCE = "The flight was late, but the crew was wonderful."
LONG = 40_000  # ms; until a cell has run
CELLS = [
    "import headprune_core as hp\nmodel = hp.PrunableModel.from_pretrained('embedded')",
    f"widget = hp.show_attention(model, {SENTENCE!r}, heads=[(3, 5), (4, 9)])\nwidget",
    "print('pinned', widget.pinned)",
]


@contextmanager
def jupyter_lab(folder):
    """JupyterLab on a free port, with a notebook; yields the notebook's address."""
    cells = [
        {"cell_type": "code", "id": f"c{i}", "execution_count": None, "metadata": {}, "outputs": [], "source": source}
        for i, source in enumerate(CELLS)
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    (folder / "attention.ipynb").write_text(json.dumps(notebook))
    port = free_port()
    options = {
        "port": port,
        "ip": "127.0.0.1",
        "root_dir": folder,
        "port_retries": 0,
        "open_browser": False,
        "allow_root": True,
    }
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        "--IdentityProvider.token=test",
    ]
    command += [f"--ServerApp.{name}={value}" for name, value in options.items()]
    command += ["--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    places = {f"JUPYTER_{name}": str(folder / name) for name in ("CONFIG_DIR", "RUNTIME_DIR", "DATA_DIR")}
    environment = os.environ | places | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    with (folder / "log.txt").open("w") as log:
        server = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log)
    try:
        address = f"http://127.0.0.1:{port}/"
        wait_for_server(server, f"{address}api?token=test")
        yield f"{address}doc/tree/attention.ipynb?token=test"
    finally:
        server.terminate()  # shuts the kernel down, too
        server.wait(30)


@pytest.mark.slow
def test_the_widget_in_jupyterlab(browser, tmp_path):
    if importlib.util.find_spec("jupyterlab") is None:
        pytest.skip("JupyterLab is not installed; run: pip install -r requirements-dev.txt")
    with jupyter_lab(tmp_path) as address, new_tab(browser) as tab:
        tab.goto(address)
        expect(tab.get_by_text("Python 3 (ipykernel) | Idle")).to_be_visible(timeout=LONG)
        run_cell(tab, 0)
        run_cell(tab, 1)
        expect(tab.locator(".av-panel")).to_have_count(2, timeout=LONG)
        token(tab, "query", 3).click()
        tab.keyboard.press("ArrowDown")  # shortcuts of JupyterLab do not take these keys
        tab.keyboard.press("Enter")
        expect(tab.locator(".av-words")).to_have_text("“late” (token 5 of 13) attends to:")
        assert tab.locator(".av-token").count() == 4 * 13
        run_cell(tab, 2)
        expect(tab.locator(".jp-OutputArea").nth(2)).to_contain_text("pinned {'side': 'query', 'start': 4, 'stop': 5}")


def run_cell(tab, number: int) -> None:
    cell = tab.locator(".jp-CodeCell").nth(number)
    cell.locator(".cm-content").click()
    expect(cell.locator(".cm-content")).to_be_focused()
    tab.keyboard.press("Shift+Enter")
    expect(cell.locator(".jp-InputPrompt")).to_have_text(f"[{number + 1}]:", timeout=LONG)


def test_the_widget_holds_the_document(embedded_model):
    widget = hp.show_attention(embedded_model, SENTENCE, heads=[(3, 5)])
    assert widget.document == hp.text_attention(embedded_model, SENTENCE, heads=[(3, 5)]).document()
    assert widget.pinned is None
    assert "export default" in widget._esm
    assert ">__ATTENTION_DOCUMENT__<" in widget.page


def test_without_anywidget_an_error_names_the_extra(embedded_model, monkeypatch):
    monkeypatch.setattr(attention_widget.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(hp.HeadPruneError, match=r'needs anywidget, .* run: pip install "headprune\[notebook\]"'):
        hp.show_attention(embedded_model, SENTENCE, heads=[(3, 5)])
