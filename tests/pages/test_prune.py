"""The Prune & export page: from a mask to the verified model, its size, and a zip that loads on its own."""

import json
import re
import threading
import time
import zipfile
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from helpers.apptest import PATIENCE, finished, opened, said
from scipy.stats import binomtest

import headprune_core as hp
from headprune_core.data.examples import as_examples, describe_overlap
from headprune_core.masks.mask_files import mask_json
from pages.parts.prune import prune_run

SIZE = 8  # evaluation examples; each is evaluated under 20 random masks too
BATCH_SIZE = 4  # of fine-tuning; 32 would take eight times as long


def press(app, label):
    button(app, label).click().run()
    return finished(app)


def choose(app, source):
    app.session_state["prune_source"] = source
    return app.run()


def button(app, label):
    return next(button for button in app.button if button.label == label)


def metrics(app):
    return {metric.label: metric.value for metric in app.metric}


@pytest.fixture(scope="module")
def pruned():
    app = opened("model_and_data", alpha="0.8", sparsity="0.5")
    app.session_state["prune_size"] = SIZE
    app.switch_page("pages/views/prune.py").run()
    assert "No pruned model yet" in said(app.info)
    return press(app, "Prune model")


@pytest.mark.slow
def test_the_mask_of_the_alpha_page_is_pruned_and_verified(pruned):
    work, result = pruned.session_state["work"], pruned.session_state["pruned"]
    mask = hp.prune_mask(work.scores.hies(0.8), 0.5)
    np.testing.assert_array_equal(result.pruned.grid.kept, mask)
    np.testing.assert_array_equal(work.model.grid.kept, True)
    found = hp.evaluate_masks(work.model, work.evaluation.select(range(SIZE)), [mask])
    assert metrics(pruned)["Heads"] == "36 of 72"
    assert metrics(pruned)["Accuracy"] == f"{found.accuracy[0]:.1%}"
    assert metrics(pruned)["Identical predictions"] == "100.0%"
    assert result.verification.max_logit_difference < 1e-5
    assert "Alpha 0.8, 50% sparsity" in said(pruned.main.caption)
    after = sum(parameter.numel() for parameter in result.pruned.model.parameters())
    assert metrics(pruned)["Parameters"] == f"{after / 1e6:.2f} M"
    before = hp.evaluate_masks(work.model, work.evaluation.select(range(SIZE)), np.ones((1, 6, 12), bool))
    fell, rose = (before.right > found.right).sum(), (found.right > before.right).sum()
    shown = binomtest(int(fell), int(fell + rose)).pvalue < 0.05
    assert f"pp (95% CI {signed_low(before, found)}" in said(pruned.main.caption)
    assert ("not significant at the 5% level" in said(pruned.main.caption)) is not shown


def signed_low(before, after):
    from headprune_core.measure.paired_tests import mcnemar

    low = mcnemar(after.right[0].astype(bool), before.right[0].astype(bool)).low
    return f"{100 * low:+.1f}".replace("-", "\N{MINUS SIGN}")


@pytest.mark.slow
def test_the_random_baseline_is_shown(pruned):
    random_baseline = pruned.session_state["pruned"].random_baseline
    assert len(random_baseline.random_values) == 20
    assert random_baseline.summary in said(pruned.main.caption)


@pytest.mark.slow
def test_your_own_input_is_compared_between_all_models(pruned):
    pruned.text_input(key="prune_text").set_value("I love flying with you")
    app = press(pruned, "Compare logits")
    found = app.session_state["pruned"].logit_comparison
    assert found.forms == ("unpruned", "masked", "pruned", "reloaded")
    assert found.max_logit_difference < 1e-5
    model = app.session_state["work"].model
    text = as_examples(["I love flying with you"])
    expected = hp.evaluate_masks(model, text, [np.ones((6, 12), bool), app.session_state["pruned"].pruned.grid.kept]).logits
    np.testing.assert_allclose(found.logits[[0, 1]], expected, atol=1e-4)
    assert "The masked, pruned and reloaded models give identical predictions" in said(app.main.caption)


@pytest.mark.slow
def test_the_benchmark_times_both_models(pruned):
    pruned.session_state["time_batches"], pruned.session_state["time_lengths"] = [1, 8], [16]
    app = press(pruned.run(), "Run benchmark")
    frame = app.session_state["pruned"].speed
    assert list(frame.batch_size) == [1, 8]
    assert "Batch size 8, 16 tokens" in said(app.main.markdown)


@pytest.mark.slow
def test_a_short_fine_tuning_run_is_evaluated_on_the_same_examples(pruned):
    expected = hp.estimate_recovery(pruned.session_state["pruned"].pruned, hp.load_examples(), steps=200)
    text = next(caption.value for caption in pruned.caption if "200 steps take about" in caption.value)
    assert f"{expected.peak_bytes / 2**20:,.0f} MiB" in text
    app = fine_tuned(pruned)
    result = app.session_state["pruned"]
    assert result.recovery.steps == 10
    assert result.recovery.before.accuracy[0] == result.verification.pruned.accuracy[0]
    assert metrics(app)["Accuracy after fine-tuning"] == f"{result.recovery.after.accuracy[0]:.1%}"
    np.testing.assert_array_equal(result.recovered.grid.kept, result.pruned.grid.kept)


def fine_tuned(app):
    """The app after fine-tuning, which another test may have run before."""
    if app.session_state["pruned"].recovery is None:
        app.session_state["recover_steps"] = 10
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(prune_run, "BATCH_SIZE", BATCH_SIZE)
            press(app.run(), "Fine-tune")
    return app


@pytest.mark.slow
@pytest.mark.parametrize("recovered", [False, True])
def test_the_zip_holds_everything_and_its_model_loads_on_its_own(pruned, tmp_path, recovered):
    from pages.parts.prune.export_bundle import ExportBundle

    if pruned.session_state["pruned"].speed is None:  # another process may have run the tests before this one
        pruned.session_state["time_batches"], pruned.session_state["time_lengths"] = [1], [16]
        press(pruned.run(), "Run benchmark")
    if recovered:
        fine_tuned(pruned)
    work, result = pruned.session_state["work"], pruned.session_state["pruned"]
    home = ExportBundle(work, result, recovered, {"alpha": 0.8}, None)
    with zipfile.ZipFile(home.bundle()) as archive:
        names = archive.namelist()
        assert not [name for name in names if name.endswith((".bin", ".pt", ".pkl"))]
        archive.extractall(tmp_path)
    kept = result.pruned.grid.kept
    assert json.loads((tmp_path / "mask.json").read_text())["kept"] == kept.tolist()
    assert pd.read_csv(tmp_path / "mask.csv").kept.tolist() == kept.ravel().tolist()
    scores = pd.read_csv(tmp_path / "scores.csv")
    np.testing.assert_allclose(scores.his, work.scores.his.ravel(), rtol=1e-6)
    assert json.loads((tmp_path / "settings.json").read_text())["alpha_page"] == {"alpha": 0.8}
    assert "<html" in (tmp_path / "report.html").read_text()
    assert {"figures/head_map.html", "figures/random_baseline.html", "figures/latency.html"} <= set(names)
    final = result.recovery.after if recovered else result.verification.pruned
    model, texts = hp.PrunableModel.from_pretrained(tmp_path / "model", device="cpu"), work.evaluation.select(range(SIZE))
    found = hp.evaluate_masks(model, texts, np.ones((1, 6, 12), bool))
    np.testing.assert_allclose(found.logits, final.logits, atol=1e-5)
    card = (tmp_path / "model" / "README.md").read_text()
    assert f"{final.accuracy[0]:.1%}" in card
    learned = f"examples of {work.text_name} (training); {describe_overlap(0)}"
    assert (f"{10 * BATCH_SIZE} training examples ({learned})" in card) is recovered
    assert (f"Training set: {learned}." in (tmp_path / "report.html").read_text()) is recovered


@pytest.mark.slow
def test_the_zip_is_built_with_progress_and_again_when_there_are_more_results(pruned):
    result = pruned.session_state["pruned"]
    app = choose_taken(pruned, False)
    app = press(app, "Build zip")
    assert zipfile.ZipFile(result.zips[False].file).testzip() is None
    assert "Build zip" not in [button.label for button in app.button]
    assert "Download zip" in " ".join(saved.proto.label for saved in app.get("download_button"))
    app = press(app, "Run benchmark")
    assert not button(app, "Build zip").disabled


@pytest.mark.slow
def test_a_zip_that_cannot_be_written_is_reported_in_a_sentence(pruned, tmp_path):
    result = pruned.session_state["pruned"]
    app = choose_taken(pruned, False)
    place, result.place = result.place, tmp_path / "file"
    result.place.write_text("where a folder should be")
    try:
        app = press(app, "Build zip")
    finally:
        result.place = place
    assert re.search(
        r"Building the zip failed\. Cannot write .* \(Not a directory\); free disk space and build again\.$", said(app.error)
    )
    assert not button(app, "Build zip").disabled


def choose_taken(app, recovered):
    app.session_state["take_recovered"] = recovered
    return app.run()


@pytest.mark.slow
def test_the_code_of_a_fine_tuned_model_makes_it_again(pruned, tmp_path, monkeypatch):
    from pages.parts.prune.export_bundle import ExportBundle

    fine_tuned(pruned)
    work, result = pruned.session_state["work"], pruned.session_state["pruned"]
    home = ExportBundle(work, result, True, {}, None)
    monkeypatch.chdir(tmp_path)
    exec(home.code, {})
    made = hp.PrunableModel.from_pretrained(tmp_path / "smaller", device="cpu")
    found = hp.evaluate_masks(made, work.evaluation.select(range(SIZE)), np.ones((1, 6, 12), bool))
    np.testing.assert_allclose(found.logits, result.recovery.after.logits, atol=1e-3)
    assert np.abs(result.verification.pruned.logits - found.logits).max() > 1e-2  # else nothing was learned
    assert home.command.endswith("--finetune-steps 10 --finetune-objective labels --training-split training")
    assert "recover(" not in replace(home, recovered=False).code


@pytest.mark.slow
def test_the_code_of_the_report_prunes_the_same_heads(pruned, tmp_path, monkeypatch, capsys):
    from pages.parts.prune.prune_code import prune_command, prune_python

    work, result = pruned.session_state["work"], pruned.session_state["pruned"]
    code = prune_python(work, result.request)
    assert "read_mask" not in code
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    printed = capsys.readouterr().out
    assert float(re.search(r"[\d.]+", printed)[0]) == pytest.approx(result.verification.pruned.accuracy[0], abs=1e-4)
    by_file = replace(result.request, choice=replace(result.request.choice, code=()))
    (tmp_path / "mask.json").write_text(mask_json(result.cut.kept))
    exec(prune_python(work, by_file), {})
    printed = capsys.readouterr().out
    assert float(re.search(r"[\d.]+", printed)[0]) == pytest.approx(result.verification.pruned.accuracy[0], abs=1e-4)
    assert "--mask mask.json" in prune_command(work, result.request)


@pytest.mark.slow
def test_a_manual_mask_and_one_from_a_file(tmp_path):
    from pages.parts.prune.mask_source import SOURCES

    app = opened("prune", sparsity="0.5", alpha="1")
    assert set(SOURCES) == {"Alpha page", "Pinned mask", "Curve point", "Greedy-Gnorm step", "Manual", "File"}
    choose(app, "Manual")
    assert "manual mask, 0 heads pruned" in said(app.main.caption).lower()
    button(app, "Use Alpha page mask").click().run()
    assert "manual mask, 36 heads pruned" in said(app.main.caption).lower()
    choose(app, "File")
    assert "Upload mask.json or mask.csv from an exported zip." in said(app.info)
    mask = np.random.default_rng(0).random((6, 12)) < 0.7
    app.file_uploader(key="mask_file").set_value(("mine.json", mask_json(mask).encode(), "application/json")).run()
    assert f"Mask from mine.json, {(~mask).sum()} heads pruned" in said(app.main.caption)
    app.file_uploader(key="mask_file").set_value(("mine.json", mask_json(mask[:5]).encode(), "application/json")).run()
    app.file_uploader(key="mask_file").set_value(("[a](b)*.csv", b"row,head\n", "text/csv")).run()
    assert r"\[a\]\(b\)\*.csv has the columns row, head" in app.error[0].value
    app.file_uploader(key="mask_file").set_value(("mine.json", mask_json(mask[:5]).encode(), "application/json")).run()
    assert "mine.json must have 6 rows of 12 heads, got 5 rows of 12 heads" in said(app.error)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "words", "page"),
    [
        ("Pinned mask", "No pinned mask yet", "Alpha"),
        ("Curve point", "No curves yet", "Accuracy vs. sparsity"),
        ("Greedy-Gnorm step", "No Greedy-Gnorm run yet", "Greedy-Gnorm"),
    ],
)
def test_a_source_without_a_mask_links_to_its_page(source, words, page):
    app = choose(opened("prune"), source)
    assert words in said(app.main.markdown)
    assert button(app, "Prune model").disabled
    assert "Choose a mask, then click **Prune model**" in said(app.info)


@pytest.mark.slow
def test_a_mask_that_keeps_all_heads_is_reported():
    app = opened("prune", sparsity="0")
    assert "72 of 72 heads kept." in said(app.main.caption)
    assert "This mask keeps all heads: choose another mask" in said(app.info)
    assert button(app, "Prune model").disabled


@pytest.mark.slow
def test_a_result_of_other_scores_is_hidden_and_one_of_other_settings_is_marked():
    app = opened("model_and_data", alpha="0.8", sparsity="0.5")
    app.session_state["prune_size"] = 2
    app = press(app.switch_page("pages/views/prune.py").run(), "Prune model")
    assert "Showing results for" not in said(app.main.caption)
    app.slider(key="prune_size").set_value(12).run()
    assert "Showing results for: alpha 0.8, 50% sparsity. The settings above have changed" in said(app.main.caption)
    app.session_state["work"] = app.session_state["work"].reduced_by("token")
    app.run()
    assert metrics(app) == {}
    assert "The earlier result was for a different model, dataset or scoring setup. Click **Prune model**" in said(app.info)


@pytest.mark.slow
def test_a_curve_point_is_pruned():
    app = opened("model_and_data")
    for name, value in {
        "methods": ["his", "random"],
        "step": "20",
        "most": 40,
        "n_random": 2,
        "evaluation_size_960": 6,
    }.items():
        app.session_state[name] = value
    app = press(app.switch_page("pages/views/accuracy.py").run(), "Evaluate curves")
    app.session_state["prune_size"] = 2
    app.switch_page("pages/views/prune.py").run()
    choose(app, "Curve point")
    scores = app.session_state["work"].scores
    app = press(app, "Prune model")
    kept = app.session_state["pruned"].pruned.grid.kept
    np.testing.assert_array_equal(kept, hp.prune_mask(scores.his, float((~kept).mean())))
    assert app.session_state["pruned"].request.choice.criterion == "HIS"


@pytest.mark.slow
def test_a_greedy_step_is_pruned():
    app = opened("model_and_data")
    for name, value in {"greedy_heads": 8, "greedy_size": 2, "greedy_end": "steps", "greedy_steps": 2}.items():
        app.session_state[name] = value
    app = press(app.switch_page("pages/views/greedy.py").run(), "Run Greedy-Gnorm")
    run = app.session_state["greedy"]["greedy_gnorm"].trajectory
    app.slider(key="greedy_step").set_value(1).run()
    app.session_state["prune_size"] = 2
    app = choose(app.switch_page("pages/views/prune.py").run(), "Greedy-Gnorm step")
    assert "after 1 step, 11% sparsity: 64 of 72 heads kept" in said(app.main.caption)
    app = press(app, "Prune model")
    pruned = app.session_state["pruned"].pruned
    assert {(row, head) for row, head in np.argwhere(~pruned.grid.kept).tolist()} == set(run.order[:8])


@pytest.mark.slow
def test_a_pinned_mask_does_not_depend_on_the_current_alpha():
    app = opened("model_and_data", alpha="0.8", sparsity="0.5")
    app.switch_page("pages/views/alpha.py").run()
    app.button(key="pin_B").click().run()
    app.session_state["alpha"], app.session_state["prune_size"] = 0.1, 2
    app = choose(app.switch_page("pages/views/prune.py").run(), "Pinned mask")
    app = press(app, "Prune model")
    scores, kept = app.session_state["work"].scores, app.session_state["pruned"].pruned.grid.kept
    np.testing.assert_array_equal(kept, hp.prune_mask(scores.hies(0.8), 0.5))
    assert (kept != hp.prune_mask(scores.hies(0.1), 0.5)).any()


@pytest.mark.slow
def test_a_mask_without_heads_is_reported():
    app = opened("prune", sparsity="1")
    button(app, "Prune model").click().run()
    assert "Pruning failed." in said(app.error)


def test_constraints_that_cannot_be_met_are_reported():
    app = opened("prune", sparsity="0.9", min_heads="10")
    assert not app.exception
    assert "The constraints on the Alpha page cannot be met." in said(app.warning)
    assert button(app, "Prune model").disabled


@pytest.mark.slow
def test_a_run_cancelled_during_evaluation_keeps_the_pruned_model_and_can_resume(monkeypatch):
    release = threading.Event()

    def held(*arguments, progress, **options):
        def report(*step):
            progress(*step)
            release.wait(PATIENCE)  # however long it takes to see the step and to cancel
            progress(*step)

        return hp.random_baseline(*arguments, progress=report, **options)

    monkeypatch.setattr(prune_run, "random_baseline", held)
    app = opened("model_and_data", sparsity="0.5")
    app.session_state["prune_size"] = 5
    app.switch_page("pages/views/prune.py").run()
    button(app, "Prune model").click().run()
    deadline = time.monotonic() + PATIENCE
    while "Evaluating 20 random masks" not in noted(app):
        assert time.monotonic() < deadline
        time.sleep(0.1)
        app.run()
    app.button(key="cancel_prune").click().run()
    release.set()
    app = finished(app)
    result = app.session_state["pruned"]
    assert result.verification.prediction_match == 1
    assert result.random_baseline is None
    assert metrics(app)["Heads"] == "36 of 72"
    assert "The run was cancelled before the random baseline was complete." in said(app.main.markdown)
    assert app.button(key="resume_prune").label == "Resume (1 of 2 evaluations)"


@pytest.mark.slow
def test_a_job_shows_its_progress_beside_the_button_that_started_it(pruned):
    def places(app):
        """Headings, and where a progress bar stands among them, in the order of the page."""
        found = []
        for block in walk(app.main):
            if block.type in ("header", "progress", "code"):
                found.append("bar" if block.type == "progress" else block.value)
        return found

    from pages.parts.common.server_cache import shared

    ways = ("Fine-tune", "Recovery fine-tuning"), ("Run benchmark", "Speed"), ("Build zip", "Export")
    choose_taken(pruned, False)
    pruned.session_state["pruned"].zips.clear()
    with shared().turns.hold(
        lambda *report: None
    ):  # as if another session computed: jobs wait, so none has ended before it is looked at
        for label, heading in ways:
            button(pruned.run(), label).click().run()
            found = places(pruned)
            assert found.count("bar") == 1
            assert found[found.index("bar") - 1] == heading
            pruned.button(key="cancel_prune").click().run()
            finished(pruned)


def walk(block):
    for child in getattr(block, "children", {}).values():
        yield child
        yield from walk(child)


def noted(app) -> str:
    """What the progress bars say."""
    return " ".join(bar.proto.text for bar in app.get("progress"))


@pytest.mark.slow
def test_without_evaluation_examples_the_model_is_still_pruned():
    app = opened("model_and_data", sparsity="0.5")
    app.session_state["work"] = replace(app.session_state["work"], evaluation=None)
    app.switch_page("pages/views/prune.py").run()
    app = press(app, "Prune model")
    result = app.session_state["pruned"]
    assert result.verification is None
    assert result.random_baseline is None
    assert (result.folder / "model.safetensors").exists()


def test_the_loaded_model_is_said_to_stay_unchanged_beside_the_button():
    app = opened("prune")
    assert "The loaded model is not changed." in said(app.main.caption)


@pytest.mark.slow
def test_the_form_keeps_its_settings_and_a_manual_mask():
    app = choose(opened("prune", sparsity="0.5", alpha="1"), "Manual")
    button(app, "Use Alpha page mask").click().run()
    app.slider(key="prune_size").set_value(12).run()
    app.switch_page("pages/views/alpha.py").run()
    app.switch_page("pages/views/prune.py").run()
    assert app.session_state["prune_source"] == "Manual"
    assert app.slider(key="prune_size").value == 12
    assert "manual mask, 36 heads pruned: 36 of 72 heads kept" in said(app.main.caption).lower()


@pytest.mark.slow
def test_an_uploaded_mask_survives_a_visit_to_another_page():
    app = choose(opened("prune"), "File")
    mask = np.random.default_rng(0).random((6, 12)) < 0.7
    app.file_uploader(key="mask_file").set_value(("mine.json", mask_json(mask).encode(), "application/json")).run()
    app.switch_page("pages/views/alpha.py").run()
    app.switch_page("pages/views/prune.py").run()
    assert f"Mask from mine.json, {(~mask).sum()} heads pruned" in said(app.main.caption)
