"""What a visitor can reach: the job that loads refuses what the form does not offer, and errors name no path."""

import pandas as pd
import pytest
from helpers.apptest import opened

from headprune_core import HeadPruneError, plan_examples
from headprune_core.cli.hosting import LEAST, Hosting, demo_settings
from pages.parts.common.hosting import _server_policy
from pages.parts.common.server_cache import ServerState
from pages.parts.common.workspace import Request, load
from pages.parts.prune import prune_run

SECRET = "hunter2"
DATASET_INPUTS = (
    "{folder}/notes.txt",
    "{folder}",
    "/etc/passwd",
    "~/notes.txt",
    "~root/.bashrc",
    "../notes.txt",
    "./notes.txt",
    "own/name",
    "own/../own/name",
    "text",
    "hf://datasets/own/name",
    "file://{folder}/notes.txt",
)
MODEL_INPUTS = ("{folder}", "/root", "own/model", "own", "../{folder}", "/proc/self/environ", "~", "C:\\Windows")


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A working directory with secrets at names that a Hub ID can have too."""
    for place in ("own/name", "own/model"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "train.txt").write_text(f"the password is {SECRET}\n" * 9)
    (tmp_path / "own/model/config.json").write_text(f'{{"model_type": "{SECRET}"}}')
    (tmp_path / "own/model/wallet-hunter2.bin").write_bytes(b"x")
    (tmp_path / "notes.txt").write_text(f"the password is {SECRET}\n" * 9)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refusal(request: Request, policy: Hosting) -> str:
    with pytest.raises(HeadPruneError) as error:
        load(request, ServerState(), lambda *_: None, policy)
    return policy.without_paths(str(error.value))


@pytest.mark.parametrize("value", DATASET_INPUTS)
def test_the_job_reads_no_file_for_a_hub_dataset(files, value):
    name = value.format(folder=files)
    text = refusal(Request(text=name), Hosting(local_paths=False))
    assert SECRET not in text
    assert text.replace(name, "") == refusal(Request(text="no/such"), Hosting(local_paths=False)).replace("no/such", "") or (
        "must have the form owner/name" in text
    )
    if "form" in text:
        assert SECRET not in refusal(Request(text=name), Hosting())  # also on the user's own computer


@pytest.mark.parametrize("value", MODEL_INPUTS)
@pytest.mark.parametrize("is_folder", [False, True])
def test_the_job_opens_no_folder_of_the_server(files, value, is_folder):
    name = value.format(folder=files)
    text = refusal(Request(name, is_folder=is_folder), Hosting(local_paths=False))
    assert SECRET not in text
    expected = "opens no local folders" if is_folder else "must have the form owner/name"
    alike = refusal(Request("no/such"), Hosting(local_paths=False)).replace("no/such", "")
    assert expected in text or text.replace(name, "") == alike


def test_a_hub_id_that_is_also_a_folder_is_refused_in_the_words_of_a_missing_one(files):
    """Nobody learns from the answer that the folder is there."""
    for policy in (Hosting(), Hosting(local_paths=False)):
        expected = refusal(Request("no/such"), policy)
        assert refusal(Request("own/model"), policy).replace("own/model", "no/such") == expected


def test_examples_and_tokens_are_capped():
    table = pd.DataFrame({"text": [f"the flight number {i} was late" for i in range(30)]})
    request = Request(text="mine", plan=plan_examples(table), size=9)
    work = load(request, ServerState(), lambda *_: None, Hosting(examples=4, tokens=20))
    assert (len(work.calibration), len(work.evaluation)) == (4, 4)
    assert work.notes == ("The dataset has no labels, so importance uses the model's own predictions as targets.",)
    with pytest.raises(HeadPruneError, match="tokens, but this server allows 5"):
        load(request, ServerState(), lambda *_: None, Hosting(tokens=5))
    with pytest.raises(HeadPruneError, match="takes no uploads"):
        load(request, ServerState(), lambda *_: None, Hosting(datasets=("embedded",)))


@pytest.fixture(scope="module")
def demo():
    """The app in demo mode."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADPRUNE_DEMO", "")
        _server_policy.clear()
        yield opened()
    _server_policy.clear()


def seen(app) -> str:
    """Everything that the page says."""
    kinds = ("caption", "markdown", "error", "warning", "info", "toast", "header", "metric", "code")
    texts = [f"{part.value} {getattr(part, 'label', '')}" for kind in kinds for part in getattr(app, kind)]
    return "\n".join([*texts, *(frame.value.to_string() for frame in app.dataframe)])


@pytest.mark.slow
def test_a_demo_says_so_and_offers_only_what_is_allowed(demo):
    app = demo.run()
    assert any("Demo server" in line.value for line in app.caption)
    groups = {group.label: list(group.options) for group in app.main.get("button_group") if hasattr(group, "options")}
    assert "Local folder" not in str(groups)
    assert "Hub" not in str(groups)
    assert app.slider(key="size").max == 128


@pytest.mark.slow
def test_a_run_of_a_demo_has_at_most_its_masks(demo):
    app = demo.switch_page("pages/views/accuracy.py").run()
    app.select_slider(key="step").set_value("one").run()
    next(button for button in app.button if button.label == "Evaluate curves").click().run()
    assert any("but this server allows 500" in error.value for error in app.error)
    assert "curves" not in app.session_state
    demo.switch_page("pages/views/model_and_data.py").run()


@pytest.mark.slow
@pytest.mark.parametrize("value", [*DATASET_INPUTS, *MODEL_INPUTS])
def test_no_input_of_a_demo_shows_a_path_or_the_content_of_a_file(demo, files, value):
    """Values that the form does not offer arrive as session state, as a forged client would send them."""
    name, app = value.format(folder=files), demo
    is_model = value in MODEL_INPUTS
    app.session_state["hub_text"], app.session_state["folder"], app.session_state["hub_model"] = name, name, name
    app.session_state["model_kind"] = "Local folder" if is_model else "Built-in"
    app.session_state["text_kind"] = "Built-in" if is_model else "Hub dataset"
    app.query_params["overrides"] = name
    app.run()
    request = Request(name, is_folder=True) if is_model else Request(text=name)
    text = seen(app) + refusal(request, demo_settings()).replace(name, "")
    assert SECRET not in text
    assert str(files) not in text.replace(name, "")
    assert "root:" not in text
    assert not app.exception


def test_a_demo_server_allows_the_masks_that_pruning_needs():
    assert LEAST["masks"] == prune_run.N_MASKS
