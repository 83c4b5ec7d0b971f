"""What is measured and how it is told; no test looks at a time, only at ratios of equals."""

import pandas as pd
import pytest
import torch
import transformers as t
from helpers.tiny_models import FAMILIES, SMALL, tiny

import headprune_core as hp
from headprune_core.prune import latency
from headprune_core.prune.latency import example_inputs
from headprune_core.prune.peak_memory import measure_peak_memory

ALONE = ["seconds", "seconds_low", "seconds_high", "examples_per_second", "memory_mib", "flops_per_token"]
PAIR = ["speedup", "speedup_low", "speedup_high", "flops_ratio", "heads_share"]
FIRST = ["device", "sequence_length", "batch_size", "repeats"]


@pytest.fixture
def clock(monkeypatch):
    """Seconds by (batch size, layers) in place of measured ones; every run is noted."""
    seconds, runs = {}, []

    def timed(work, times, device):
        before = len(runs)
        work()
        return seconds.get(runs[before], 0.5)

    logits = hp.PrunableModel.logits

    def noted(self, inputs):
        runs.append((len(inputs["input_ids"]), len(self.grid.layers)))
        return logits(self, inputs)

    monkeypatch.setattr(latency, "_seconds", timed)
    monkeypatch.setattr(hp.PrunableModel, "logits", noted)
    return seconds, runs


@pytest.mark.slow
def test_a_model_against_itself_is_about_as_fast(embedded_model):
    frame = hp.measure_latency(embedded_model, batch_sizes=(1,), sequence_length=16, compare=embedded_model, repeats=15)
    (line,) = frame.itertuples()
    assert line.speedup_low <= line.speedup <= line.speedup_high
    assert 0.5 < line.speedup < 2
    assert line.flops_ratio == 1
    assert line.memory_mib == line.compare_memory_mib > 0
    assert "so no speedup is expected" in hp.describe_latency(frame)[1]


@pytest.mark.slow
def test_a_line_for_every_setting_and_all_columns():
    model = hp.PrunableModel(tiny("bert"))
    done = []
    frame = hp.measure_latency(
        model,
        batch_sizes=(1, 4),
        sequence_length=(8, 20),
        compare=model,
        repeats=2,
        progress=lambda *report: done.append(report[:2]),
    )
    assert list(frame) == [*FIRST, *ALONE, *(f"compare_{name}" for name in ALONE), *PAIR]
    assert list(zip(frame.sequence_length, frame.batch_size, strict=True)) == [(8, 1), (8, 4), (20, 1), (20, 4)]
    assert done == [(n, 8) for n in range(9)]
    assert frame.notna().all().all()
    assert (frame.memory_mib > 0).all()
    assert (frame.flops_per_token == [hp.flops_per_token(model, n) for n in (8, 8, 20, 20)]).all()
    alone = hp.measure_latency(model, batch_sizes=(2,), sequence_length=8, repeats=1)
    assert list(alone) == [*FIRST, *ALONE]


def test_models_take_turns_and_ratios_are_of_neighbours(clock):
    seconds, runs = clock
    small, large = (hp.PrunableModel(_bert(layers)) for layers in (1, 3))
    seconds |= {(2, 1): 0.2, (2, 3): 0.5}
    frame = hp.measure_latency(small, batch_sizes=(2,), sequence_length=8, compare=large, repeats=4)
    timed = [layers for _, layers in runs[-8:]]
    assert timed == [3, 1] * 4
    (line,) = frame.itertuples()
    assert (line.seconds, line.compare_seconds) == (0.2, 0.5)
    assert line.speedup == line.speedup_low == line.speedup_high == 2.5
    assert line.examples_per_second == 10
    assert line.compare_examples_per_second == 4
    assert 2.5 < line.flops_ratio <= 3
    assert line.compare_memory_mib >= line.memory_mib


def _bert(layers):
    return t.BertForSequenceClassification(t.BertConfig(**SMALL | {"num_hidden_layers": layers}, num_labels=3))


@pytest.mark.parametrize("family", ["gpt2", "gpt-oss", "t5", "bart", "bart-classifier", "t5-classifier", "vit"])
def test_every_kind_of_model_can_be_timed(family):
    model = hp.PrunableModel(tiny(family))
    frame = hp.measure_latency(model, batch_sizes=(2,), sequence_length=11, repeats=1)
    assert frame.sequence_length[0] == (17 if family == "vit" else 11)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_inputs_have_the_shape_that_was_asked_for(family):
    model = hp.PrunableModel(tiny(family))
    for name, value in example_inputs(model, 3, 9).items():
        assert value.shape == (3, 3, 8, 8) if name == "pixel_values" else (3, 9)


def test_cancelling_keeps_the_settings_that_are_finished(clock):
    model = hp.PrunableModel(tiny("bert"))

    def stop(done, total, note):
        if done == 5:
            raise hp.Cancelled("enough")

    with pytest.raises(hp.Cancelled) as caught:
        hp.measure_latency(model, batch_sizes=(1, 2, 3), sequence_length=8, repeats=2, progress=stop)
    assert caught.value.partial.batch_size.tolist() == [1, 2]

    def at_once(done, total, note):
        raise hp.Cancelled("enough")

    with pytest.raises(hp.Cancelled) as caught:
        hp.measure_latency(model, batch_sizes=(1,), sequence_length=8, repeats=2, progress=at_once)
    assert caught.value.partial is None


def test_what_cannot_be_measured_is_refused(monkeypatch):
    model = hp.PrunableModel(tiny("bert"))
    with torch.device("meta"):
        unloaded = hp.PrunableModel(_bert(1))
    for options, words in (
        ({"batch_sizes": ()}, "one or more"),
        ({"batch_sizes": (0, 1)}, "1 or more"),
        ({"repeats": 0}, "1 or more"),
        ({"sequence_length": ()}, "at least one"),
        ({"sequence_length": 100_000}, "the model's maximum"),
        ({"compare": unloaded}, "one device"),
    ):
        with pytest.raises(hp.HeadPruneError, match=words):
            hp.measure_latency(model, **options)
    with pytest.raises(hp.HeadPruneError, match="meta device"):
        hp.measure_latency(unloaded)

    def full(*_):
        raise RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 1 bytes")

    monkeypatch.setattr(hp.PrunableModel, "logits", full)
    with pytest.raises(hp.HeadPruneError, match="a batch of 32 examples with 8 tokens does not fit in memory"):
        hp.measure_latency(model, batch_sizes=(32,), sequence_length=8)


def test_peak_counts_what_is_alive_at_once():
    weight, kilobyte = torch.ones(256, 256), 2**10

    def work():
        one = weight * 2  # 256 kB
        two = one + 1  # 512 kB
        del one
        three = two.t().reshape(-1)[:10] + weight.view(-1)[:10]  # the transposed copy lives while its sum is made
        four = two * 2
        return three, four

    most = measure_peak_memory(work, [weight], torch.device("cpu"))
    assert 512 * kilobyte <= most <= 513 * kilobyte
    assert measure_peak_memory(lambda: weight.view(-1)[:5], [weight], torch.device("cpu")) == 0
    assert measure_peak_memory(lambda: [weight + i for i in range(5)], [], torch.device("cpu")) == 5 * 256 * kilobyte


def frame_of(**values) -> pd.DataFrame:
    line = {
        "device": "cpu",
        "sequence_length": 128,
        "batch_size": 8,
        "repeats": 15,
        "seconds": 0.02,
        "compare_seconds": 0.03,
    }
    line |= {"speedup": 1.5, "speedup_low": 1.4, "speedup_high": 1.6, "flops_ratio": 1.55, "heads_share": 0.4}
    return pd.DataFrame([line | values])


def test_the_text_says_what_is_faster_and_what_is_not():
    told = hp.describe_latency(frame_of())
    assert told[0] == (
        "Batch size 8, 128 tokens: 1.50× speedup (IQR 1.40 to 1.60, 15 pairs); 30.0 ms unpruned, 20.0 ms pruned; "
        "theoretical speedup 1.55×."
    )
    assert "35.5% fewer FLOPs" in told[1]
    assert "Heads account for 40% of the unpruned model's FLOPs" in told[1]
    assert "cannot exceed 1.7× even with all heads removed" in told[1]
    assert len(told) == 2
    tiny_gain = hp.describe_latency(frame_of(speedup=1.02, speedup_low=1.01, speedup_high=1.03))
    assert "no measurable difference, 1.02×" in tiny_gain[0]
    slower = hp.describe_latency(frame_of(speedup=0.9, speedup_low=0.85, speedup_high=0.95))
    assert "slower than unpruned, 0.90×" in slower[0]
    assert "No measurable speedup on this device; pruning only reduces model size." in slower[2]


def test_the_text_says_why_there_is_no_speedup():
    one = frame_of(batch_size=1, speedup=1.01, speedup_low=0.98, speedup_high=1.05)
    many = frame_of(batch_size=8, speedup_high=1.54)
    told = " ".join(hp.describe_latency(pd.concat([one, many])))
    assert "Batch size 1, 128 tokens: no measurable difference, 1.01× (IQR 0.98" in told
    assert "At batch size 1, the speedup is below the theoretical value" in told
    assert "No measurable speedup on this device" not in told
    assert told.count("fewer FLOPs") == 1
    little = hp.describe_latency(frame_of(flops_ratio=1.05, speedup=1.0, speedup_low=0.99, speedup_high=1.01))
    assert "The saving is too small to measure." in little[1]
    same = hp.describe_latency(frame_of(flops_ratio=1.0, speedup=1.0, speedup_low=0.99, speedup_high=1.01))
    assert same[1:] == ["At 128 tokens, both models need the same FLOPs, so no speedup is expected."]


def test_an_inconclusive_measurement_is_said_to_be_one():
    told = hp.describe_latency(frame_of(speedup=1.3, speedup_low=0.7, speedup_high=1.8))
    assert "inconclusive, 1.30× (IQR 0.70 to 1.80" in told[0]
    assert "Rerun on an idle machine." in told[0]
    assert not any("No measurable speedup on this device" in sentence for sentence in told)


def test_the_text_for_one_model_alone():
    frame = frame_of(seconds=2.0, seconds_low=1.9, seconds_high=2.1, examples_per_second=4.0).drop(columns=PAIR)
    (told,) = hp.describe_latency(frame)
    assert told.startswith("Batch size 8, 128 tokens: 2.00 s, 4 examples/s (IQR 1.90 s to 2.10 s, 15 measurements)")
