"""The report: its numbers match independent counts, it is complete whatever is unknown, and user text is never markup."""

import datetime
import html.parser
import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from helpers.tiny_models import examples_for, tiny
from plotly.offline import get_plotlyjs
from scipy.stats import binomtest

import headprune_core as hp
from headprune_core.measure.evaluation import evaluate_masks
from headprune_core.measure.paired_tests import mcnemar
from headprune_core.measure.random_baseline import RandomBaseline, random_baseline
from headprune_core.prune.recovery import Recovery
from headprune_core.report.data import by_class
from headprune_core.report.html import Drawing, Section, Text, cite, page
from headprune_core.report.pruning_record import PruningRecord
from headprune_core.report.report import html_report

DATE = datetime.date(2026, 11, 25)
TAGS = set(
    re.findall(
        r"\w+",
        "html head meta title style script body main noscript header section figure figcaption div h1 h2 h3 p b a span time "
        "ul ol li table caption thead tbody tr th td pre",
    )
)
EMPTY = {"meta"}
HOSTILE = "</script><script>alert(\"1\")</script><img src=x onerror='alert(2)'><b>bold</b> %{x} &lt; &amp;"


class Reader(html.parser.HTMLParser):
    """The text, the tags with their attributes and the scripts of a page; fails where tags do not close as they open."""

    def __init__(self, page: str):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.scripts, self.text, self.headings = [], [], [], "", []
        self.feed(page.replace(get_plotlyjs(), ""))
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in EMPTY:
            self.open.append(tag)
        if tag in ("h1", "h2", "h3"):
            self.headings.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "script" in self.open:
            self.scripts.append(data)
        elif "style" not in self.open:
            self.text += data
            if self.headings and {"h1", "h2", "h3"} & set(self.open):
                self.headings[-1] += data


def figures_of(reader):
    """The data and layout of every figure, as the browser gets them."""
    found = []
    for script in reader.scripts:
        start = script.find("Plotly.newPlot(")
        if start >= 0 and '"figure-' in script:
            rest, parts = script[script.index(",", start) + 1 :].strip(), []
            for _ in range(2):
                part, end = json.JSONDecoder().raw_decode(rest)
                parts.append(part)
                rest = rest[end:].lstrip().removeprefix(",").lstrip()
            found.append(parts)
    return found


def strings_in(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from strings_in(part)


@pytest.fixture(scope="module")
def half(embedded_model, embedded_scores):
    """The built-in model at 50% sparsity with 90 examples and everything that a record can hold."""
    texts = hp.load_examples("embedded", split="evaluation", size=90)
    mask = hp.prune_mask(embedded_scores.his, 0.5)
    pruned = hp.prune_heads(embedded_model, mask)
    record = PruningRecord(
        "embedded",
        "lowest HIS first",
        criterion="HIS",
        sparsity=0.5,
        calibration_data="32 tweets",
        evaluation_data="90 tweets",
        settings=embedded_scores.settings,
        verification=hp.verify_pruning(embedded_model, pruned, texts),
        random_baseline=random_baseline(embedded_model, texts, mask, n_random=5),
        latency=hp.measure_latency(pruned, compare=embedded_model, batch_sizes=(1,), sequence_length=8, repeats=2),
    )
    curves = hp.sparsity_curves(
        embedded_model, texts, embedded_scores, methods=["his", "random"], sparsities=[0, 0.5], n_random=2
    )
    return embedded_model, pruned, record, {"scores": embedded_scores, "curves": curves}, texts, mask


@pytest.mark.slow
def test_the_numbers_are_those_of_plain_counts(half):
    model, pruned, record, more, texts, mask = half
    text = Reader(html_report(model, pruned, record, **more, date=DATE)).text
    labels = np.array(texts["label"])
    before, after = (found.logits[0].argmax(-1) for found in (record.verification.unpruned, record.verification.pruned))
    was, now = before == labels, after == labels
    for right in (was, now):
        assert f"{right.mean():.1%}" in text
        interval = binomtest(int(right.sum()), 90).proportion_ci(method="wilson")
        assert f"{interval.low:.1%} to {interval.high:.1%}" in text
    b, c = int((now & ~was).sum()), int((was & ~now).sum())
    assert f"{b} examples correct only after, {c} only before" in text
    assert f"p = {binomtest(b, b + c).pvalue:.3f}" in text
    moved = f"{100 * (now.mean() - was.mean()):+.1f}".replace("-", "\N{MINUS SIGN}")
    assert f"change {moved} pp (95% CI" in text
    assert f"{(before == after).mean():.1%} (" in text
    assert "of 90 predictions." in text
    lost = [(now[labels == c].mean() - was[labels == c].mean(), name) for c, name in enumerate(model.labels)]
    assert f"Largest drop: {min(lost)[1]}, " in text
    counts = [sum(p.numel() for p in some.model.parameters()) for some in (model, pruned)]
    assert f"Parameters: {counts[0]:,} unpruned, {counts[1]:,} pruned" in text
    gone = ", ".join(f"{row}.{head}" for row, head in np.argwhere(~mask))
    assert gone in text
    for row, kept in enumerate(mask):
        assert f"{row}  {' '.join('■' if here else '·' for here in kept)}" in text
    assert record.random_baseline.summary[1:] in text
    for sentence in hp.describe_latency(record.latency):
        assert sentence in text
    assert "25 November 2026" in text
    assert json.loads(re.search(r"Settings\n(\{.*?\n\})", text, re.DOTALL)[1])["scores"]["examples"] == 32


@pytest.mark.slow
def test_classes_are_told_from_the_losses(half):
    *_, record, _, texts, _ = half
    labels = np.array(texts["label"])
    found = by_class(record.verification.unpruned, record.verification.pruned, half[0].labels)
    assert [one.n for one in found] == [int((labels == c).sum()) for c in range(3)]
    np.testing.assert_allclose([one.before for one in found], record.verification.unpruned.recall[0])
    np.testing.assert_allclose([one.after for one in found], record.verification.pruned.recall[0])


@pytest.mark.slow
def test_the_figures_hold_the_records_numbers(half):
    model, pruned, record, more, *_ = half
    reader = Reader(html_report(model, pruned, record, **more))
    figures = figures_of(reader)
    assert len(figures) == 7
    kept = next(trace for trace in figures[0][0] if trace["name"].startswith("Kept"))
    assert kept["name"] == "Kept (36)"
    assert all("paper_bgcolor" in layout["template"]["layout"] for _, layout in figures)
    captions = re.findall(r"Figure (\d+)\.", reader.text)
    assert captions == [str(n) for n in range(1, 8)]
    assert re.findall(r"Table (\d+)\.", reader.text) == ["1", "2", "3", "4"]
    named = [attributes["aria-labelledby"] for _, attributes in reader.tags if "aria-labelledby" in attributes]
    assert named == [attributes["id"] for tag, attributes in reader.tags if tag == "figcaption"]
    assert len(named) == 7
    assert not [tag for tag, attributes in reader.tags if attributes.get("role") == "img"]  # figures contain buttons


def numbers(reader):
    sections = [heading for heading in reader.headings[1:] if re.match(r"\d+ ", heading)]
    return [int(re.match(r"\d+", heading)[0]) for heading in sections]


def test_what_is_not_known_is_left_out_and_numbers_go_on(embedded_model):
    pruned = hp.prune_heads(embedded_model, np.arange(12) % 2 == np.zeros((6, 1)))
    reader = Reader(html_report(embedded_model, pruned, PruningRecord("embedded", "every other head")))
    assert numbers(reader) == list(range(1, 7))
    assert not [heading for heading in reader.headings if "Data" in heading or "Accuracy" in heading or "Notes" in heading]
    assert "None" not in reader.text
    assert "nan" not in re.findall(r"\w+", reader.text)
    assert "Table 1. Parameters by module" in reader.text
    assert "No random baseline was run." in reader.text
    assert "Not measured: a random baseline (random masks of the same size)." in reader.text
    assert len(figures_of(reader)) == 1


@pytest.mark.slow
def test_only_what_is_cited_is_listed_in_the_order_of_first_mention(half):
    model, pruned, record, more, *_ = half
    reader = Reader(html_report(model, pruned, record, **more))
    cited = [attributes["href"] for tag, attributes in reader.tags if tag == "a"]
    listed = ["#" + attributes["id"] for tag, attributes in reader.tags if tag == "li" and "id" in attributes]
    assert listed == list(dict.fromkeys(cited))
    assert {"#ref-michel", "#ref-wilson", "#ref-mcnemar", "#ref-newcombe", "#ref-greedy", "#ref-hies"} == set(listed)
    assert re.findall(r"\[(\d+)\]", reader.text)[0] == "1"
    hies = html_report(model, pruned, replace(record, criterion="HIES \N{GREEK SMALL LETTER ALPHA} 0.25", alpha=0.25))
    assert "arXiv:2510.13832" in Reader(hies).text


@pytest.mark.slow
def test_nothing_is_fetched_and_the_page_says_so(half):
    model, pruned, record, more, *_ = half
    text = html_report(model, pruned, record, **more)
    reader = Reader(text)
    assert text.count(get_plotlyjs()) == 1
    rest = text.replace(get_plotlyjs(), "")
    assert "http:" not in rest
    assert "https:" not in rest
    assert not [tag for tag, attributes in reader.tags if {"src", "srcset"} & attributes.keys() or tag == "link"]
    policy = next(a["content"] for _, a in reader.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none';")
    assert dict(reader.tags)["html"] == {"lang": "en"}


@pytest.mark.slow
def test_nobodys_text_is_markup():
    names = [f"{HOSTILE} {c}" for c in range(3)]
    mine = hp.PrunableModel(tiny("bert"), name=HOSTILE)
    mine.model.config.id2label = dict(enumerate(names))
    examples, mask = examples_for("bert", count=12), np.array([[1, 0, 1, 0]] * 3, bool)
    pruned = hp.prune_heads(mine, mask)
    scores = hp.score_heads(mine, examples)
    curves = hp.sparsity_curves(
        mine, examples, scores, methods=[HOSTILE, "random"], sparsities=[0, 0.5], n_random=2, rankings={HOSTILE: scores.his}
    )
    record = PruningRecord(
        HOSTILE,
        HOSTILE,
        revision=HOSTILE,
        criterion=HOSTILE,
        alpha=0.5,
        calibration_data=HOSTILE,
        evaluation_data=HOSTILE,
        settings={HOSTILE: HOSTILE},
        verification=hp.verify_pruning(mine, pruned, examples),
    )
    texts = {"code": HOSTILE, "command": HOSTILE, "notes": [HOSTILE]}
    text = html_report(mine, pruned, record, scores=scores, curves=curves, **texts)
    reader, shown = Reader(text), HOSTILE
    plain = Reader(html_report(mine, pruned, replace(record, source="x", mask_description="x", criterion="x")))
    assert {tag for tag, _ in reader.tags} <= TAGS
    assert not [name for _, attributes in reader.tags for name in attributes if name.startswith("on")]
    figures = figures_of(reader)
    # the library, the page's own script, two for what Plotly wants of each figure
    assert sum(tag == "script" for tag, _ in reader.tags) == 2 + len(figures)
    assert sum(tag == "script" for tag, _ in plain.tags) == 2 + len(figures_of(plain))
    assert reader.text.count(shown) >= 10
    assert shown in reader.headings[0]
    drawn = [text for parts in figures for text in strings_in(parts)]
    assert [text for text in drawn if "&lt;script&gt;" in text]
    assert not [text for text in drawn if "<script" in text or "<img" in text or "<b>bold" in text]
    for script in reader.scripts:
        assert "alert" not in script or "<" not in script[script.index("alert") - 40 : script.index("alert")]


def test_half_a_letter_does_not_keep_the_file_from_being_written():
    model, pruned = wrapped("bert", most, name="a\ud800b")
    text = html_report(model, pruned, PruningRecord("x\ud800", "by hand", sparsity=0.4), notes=["\udfff"], command="\ud800")
    assert "a?b" in Reader(text.encode("utf-8").decode("utf-8")).text


def wrapped(family, mask, **more):
    model = hp.PrunableModel(tiny(family), **more)
    return model, hp.prune_heads(model, np.asarray(mask(model.grid.shape), bool))


def most(shape):
    mask = np.ones(shape, bool)
    mask[0, 1] = mask[-1] = False
    return mask


@pytest.mark.slow
@pytest.mark.parametrize("family", ["llama", "bart", "vit", "albert", "t5-classifier", "gpt2-classifier"])
def test_every_kind_of_model_has_a_report(family):
    model, pruned = wrapped(family, lambda shape: most(shape) if shape[0] > 1 else np.arange(4)[None] < 3)
    examples = examples_for(family)
    record = PruningRecord(
        family,
        "by hand",
        criterion="custom",
        verification=hp.verify_pruning(model, pruned, examples),
        random_baseline=random_baseline(model, examples, pruned.grid.kept, n_random=2),
        latency=hp.measure_latency(pruned, compare=model, batch_sizes=(1,), sequence_length=8, repeats=2),
    )
    reader = Reader(html_report(model, pruned, record, scores=hp.score_heads(model, examples)))
    assert "None" not in reader.text
    assert "nan" not in re.findall(r"\w+", reader.text)
    assert numbers(reader) == list(range(1, 8))
    assert ("by a bootstrap over examples (permutation test, p " in reader.text) == (model.task != "classification")
    assert ("only before (exact McNemar test" in reader.text) == (model.task == "classification")
    assert ("Tokens of one example depend on each other" in reader.text) == (model.task != "classification")
    assert ("The evaluation used 9 images." in reader.text) == (family == "vit")
    if family == "llama":  # head 0.1 shares keys and values with 0.0
        assert "1 pruned head is zeroed instead: a kept head shares the KV head" in reader.text
        assert "0  ■ ◇ ■ ■" in reader.text
    if family == "bart":
        assert "encoder 0.1, " in reader.text


def test_without_labels_agreement_with_the_unpruned_model_is_told():
    model, pruned = wrapped("bert", most)
    examples = examples_for("bert", count=20).remove_columns("label")
    masked = evaluate_masks(model, examples, pruned.grid.kept[None])
    record = PruningRecord("x", "by hand", verification=hp.verify_pruning(model, pruned, examples))
    text = Reader(html_report(model, pruned, record)).text
    assert masked.agreement[0] < 1  # else this test could not fail
    assert f"Predictions match the unpruned model on {masked.agreement[0]:.1%} (95% CI" in text
    assert "Per-class recall" not in text
    assert "Not measured: accuracy (the evaluation set has no labels)." in text
    assert "Accuracy: " not in text


@pytest.mark.parametrize(
    ("random", "abstract", "verdict"),
    [
        ([0.1, 0.2], "better than all 2 random masks of the same size, too few for significance", "with probability 1/3"),
        ([0.1] * 19, "better than all 19 random masks of the same size.", "with probability 1/20"),
        (
            [0.6, 0.7],
            "better than none of 2 random masks of the same size, which is not significant",
            "2 of 2 random masks, which make the model equally small, do as",
        ),
        (
            [0.1, 0.7],
            "better than 1 of 2 random masks of the same size, which is not significant",
            "1 of 2 random masks, which make the model equally small, do as",
        ),
    ],
)
def test_the_result_of_the_random_baseline_is_stated(random, abstract, verdict):
    model, pruned = wrapped("bert", most)
    random_baseline = RandomBaseline("accuracy", 0.5, np.array(random))
    text = Reader(html_report(model, pruned, PruningRecord("x", "by hand", random_baseline=random_baseline))).text
    assert abstract in text
    assert verdict in text


@pytest.mark.slow
def test_a_fine_tune_is_told_and_compared_on_the_same_texts(half):
    model, pruned, record, *_ = half
    after = record.verification.unpruned  # as if it had brought everything back
    loss = np.linspace(2, 1, 40)
    recovery = Recovery(40, 40, 320, 8, "teacher", 1e-4, 12.0, loss, before=record.verification.pruned, after=after)
    reader = Reader(html_report(model, pruned, replace(record, recovery=recovery)))
    assert "40 steps, batch size 8, 320 training examples, training target outputs of the unpruned model" in reader.text
    assert "Fine-tuned" in reader.text
    assert (
        "After fine-tuning, the change in accuracy is not significant at the 5% level; before fine-tuning, the mask is"
        in (reader.text)
    )
    assert "other examples than the table above" not in reader.text
    assert [trace["x"] for data, _ in figures_of(reader) for trace in data if trace.get("name") == "Per step"]
    elsewhere = replace(recovery, before=replace(after, losses=after.losses + 1))
    reader = Reader(html_report(model, pruned, replace(record, recovery=elsewhere)))
    assert "This comparison used other examples than the table above." in reader.text


@pytest.mark.parametrize(
    ("share", "regime"), [(0.05, "redundancy"), (0.3, "transition"), (0.5, "specialization"), (0.9, "collapse")]
)
def test_the_regime_is_named(share, regime, embedded_model):
    mask = hp.prune_mask(np.arange(72.0).reshape(6, 12), share)
    pruned = hp.prune_heads(embedded_model, mask)
    text = Reader(html_report(embedded_model, pruned, PruningRecord("embedded", "in order"))).text
    assert f"the model is in the {regime} regime (" in text


def test_heads_removed_before_are_not_counted_again():
    once = wrapped("bert", most)[1]
    twice = hp.prune_heads(once, np.arange(4) < np.full((3, 1), 3))
    text = Reader(html_report(once, twice, PruningRecord("x", "by hand"))).text
    assert "Pruning 2 of 7 attention heads" in text
    assert "5 of 12 heads had been removed earlier" in text


def test_models_that_do_not_belong_together_are_refused(embedded_scores):
    model, pruned = wrapped("bert", most)
    record = PruningRecord("x", "by hand")
    for one, other, more in ((pruned, model, {}), (model, pruned, {"scores": embedded_scores})):
        with pytest.raises(
            hp.HeadPruneError, match="must have the same head grid, and pruned a subset of the model's heads"
        ):
            html_report(one, other, record, **more)


def test_a_citation_that_nobody_knows_is_dropped_and_texts_are_escaped():
    sections = [Section("A & B", [Text(f"see {cite('b')} and {cite('a', 'b', 'zzz')} <i>")]), Section("C", [])]
    reader = Reader(page("t", DATE, "", sections, {"a": "First & only", "b": "Second"}))
    assert "see [1] and [2][1] <i>" in reader.text
    assert reader.headings == ["t", "1 A & B", "References"]
    assert "Second\nFirst & only" in reader.text


def test_frames_of_one_model_alone_are_told_as_times():
    model, pruned = wrapped("bert", most)
    latency = hp.measure_latency(pruned, batch_sizes=(1,), sequence_length=8, repeats=2)
    text = Reader(html_report(model, pruned, PruningRecord("x", "by hand", latency=latency))).text
    assert "median (IQR) of 2 measurements." in text
    assert "Speedup" not in text
    assert Drawing.__doc__
    empty = html_report(model, pruned, PruningRecord("x", "by hand", latency=pd.DataFrame()))
    assert "Latency of a forward pass" not in Reader(empty).text


@pytest.mark.slow
@pytest.mark.parametrize(("normalize", "words"), [("layer", "within each layer"), ("global", "across all layers")])
def test_the_mix_is_drawn_as_it_was_scaled(normalize, words, half):
    model, pruned, record, more, *_ = half
    record = replace(record, criterion="hies_keep_high", alpha=0.25, settings={"normalize": normalize})
    reader = Reader(html_report(model, pruned, record, scores=more["scores"]))
    assert f"from 0 to 1 {words}" in reader.text
    assert f"both scaled {words}" in reader.text
    cells = more["scores"].hies(0.25, normalize=normalize, entropy_direction="high")
    texts = next(
        trace["text"] for data, _ in figures_of(reader) for trace in data if "customdata" in trace and "text" in trace
    )
    gone = np.where(pruned.grid.kept, "", ", removed")
    assert texts == [f"layer {r}, head {h}: {cell:.4g}{gone[r, h]}" for (r, h), cell in np.ndenumerate(cells)]


@pytest.mark.slow
def test_a_change_is_shown_only_where_interval_and_exact_test_agree(half):
    model, pruned, record, *_ = half
    before, after = np.ones(90), np.ones(90)
    before[60:70] = after[60:70] = 0  # wrong in both
    before[:1], after[1:8] = 0, 0  # 1 right only after, 7 only before
    worse = replace(record.verification.pruned, right=after[None])
    verification = replace(
        record.verification, unpruned=replace(record.verification.unpruned, right=before[None]), pruned=worse
    )
    text = Reader(html_report(model, pruned, replace(record, verification=verification))).text
    found = mcnemar(after.astype(bool), before.astype(bool))
    assert found.high < 0  # else the two would agree
    assert found.p_value == binomtest(1, 8).pvalue > 0.05
    assert (
        "the exact McNemar test is not significant at the 5% level (p = 0.070), so the difference is not significant."
        in text
    )
    assert "The change in accuracy is not significant at the 5% level;" in text
    tuned = Recovery(4, 4, 32, 8, "labels", 1e-4, 1.0, np.ones(4), before=worse, after=verification.unpruned)
    text = Reader(html_report(model, pruned, replace(record, verification=verification, recovery=tuned))).text
    assert "(p = 0.070), so the change is not significant." in text
    assert "is significant" not in text.partition("Recovery fine-tuning")[2].partition("Model size and latency")[0]
