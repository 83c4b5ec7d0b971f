"""Parameter tables against the papers' printed ones, and against sums over the models' own parameters."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
import transformers as t
from helpers.tiny_models import FAMILIES, tiny

import headprune_core as hp

BASE = {"hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072}
LARGE = {"hidden_size": 1024, "num_attention_heads": 16, "intermediate_size": 4096, "num_hidden_layers": 24}
ROBERTA = {"max_position_embeddings": 514, "type_vocab_size": 1, "pad_token_id": 1}


@dataclass(frozen=True)
class Printed:
    """A table of the paper, its lines as printed: name, and parameters, share and MB before and after; how many heads the
    difference means."""

    family: str
    build: type
    config: t.PretrainedConfig
    removed: int
    lines: str


PRINTED = {
    "Table 2": Printed(
        "bert",
        t.BertForSequenceClassification,
        t.BertConfig(vocab_size=21128, num_labels=3),
        117,
        """Model 102,269,955 100.00 390.13 79,244,355 100.00 302.29
        BERT 102,267,648 100.00 390.12 79,242,048 100.00 302.28
        Embeddings 16,622,592 16.25 63.41 16,622,592 20.98 63.41
        Encoder 85,054,464 83.17 324.46 62,028,864 78.28 236.62
        Pooler 590,592 0.58 2.25 590,592 0.75 2.25
        Classifier 2,307 0.00 0.01 2,307 0.00 0.01
        Weight 2,304 0.00 0.01 2,304 0.00 0.01
        Bias 3 0.00 0.00 3 0.00 0.00""",
    ),
    "Table 3": Printed(
        "albert",
        t.AlbertForSequenceClassification,
        t.AlbertConfig(**BASE, num_labels=3),
        3,
        """Model 11,685,891 100.00 44.58 11,095,491 100.00 42.33
        ALBERT 11,683,584 99.98 44.57 11,093,184 99.98 42.32
        Embeddings 3,906,048 33.43 14.90 3,906,048 35.20 14.90
        Encoder 7,186,944 61.50 27.42 6,596,544 59.45 25.16
        Pooler 590,592 5.05 2.25 590,592 5.32 2.25
        Classifier 2,307 0.02 0.01 2,307 0.02 0.01
        Weight 2,304 0.02 0.01 2,304 0.02 0.01
        Bias 3 0.00 0.00 3 0.00 0.00""",
    ),
    "Table 4": Printed(
        "roberta",
        t.RobertaForSequenceClassification,
        t.RobertaConfig(**LARGE, **ROBERTA, vocab_size=50265, num_labels=2),
        245,
        """Model 355,361,794 100.00 1355.60 291,089,474 100.00 1110.42
        RoBERTa 354,310,144 99.70 1351.59 290,037,824 99.64 1106.41
        Embeddings 52,000,768 14.63 198.37 52,000,768 17.86 198.37
        Encoder 302,309,376 85.07 1153.22 238,037,056 81.77 908.04
        Classifier 1,051,650 0.30 4.01 1,051,650 0.36 4.01
        Dense 1,049,600 0.30 4.00 1,049,600 0.36 4.00
        Out_proj 2,050 0.00 0.01 2,050 0.00 0.01""",
    ),
    "Table 5": Printed(
        "xlm-roberta",
        t.XLMRobertaForSequenceClassification,
        t.XLMRobertaConfig(**ROBERTA, vocab_size=250002, num_labels=20),
        105,
        """Model 278,059,028 100.00 1060.71 257,395,028 100.00 981.88
        RoBERTa 277,453,056 99.78 1058.40 256,789,056 99.76 979.57
        Embeddings 192,398,592 69.19 733.94 192,398,592 74.75 733.94
        Encoder 85,054,464 30.59 324.46 64,390,464 25.02 245.63
        Classifier 605,972 0.22 2.31 605,972 0.24 2.31
        Dense 590,592 0.21 2.25 590,592 0.23 2.25
        Out_proj 15,380 0.01 0.06 15,380 0.01 0.06""",
    ),
}


def unloaded(printed: Printed) -> torch.nn.Module:
    with torch.device("meta"):
        return printed.build(printed.config)


def some_heads(shape: tuple[int, int], removed: int) -> np.ndarray:
    """A random mask, False for so many heads."""
    order = np.random.default_rng(0).permutation(shape[0] * shape[1])
    return order.reshape(shape) >= removed


def without_heads(printed: Printed) -> torch.nn.Module:
    """The model without as many random heads, their features cut out of its projections."""
    model = unloaded(printed)
    rows = FAMILIES[printed.family].projections(model)
    heads = printed.config.num_attention_heads
    size = rows[0][0].weight.shape[0] // heads
    for (*inward, out), kept in zip(rows, some_heads((len(rows), heads), printed.removed), strict=True):
        left = size * int(kept.sum())
        for projection in inward:
            projection.weight = torch.nn.Parameter(projection.weight[:left])
            projection.bias = torch.nn.Parameter(projection.bias[:left])
        out.weight = torch.nn.Parameter(out.weight[:, :left])
    return model


def as_printed(table) -> list[str]:
    return [
        f"{line.module} {line.parameters:,} {line.share:.2f} {line.size_mib:.2f} "
        f"{line.parameters_after:,} {line.share_after:.2f} {line.size_mib_after:.2f}"
        for line in table.itertuples()
    ]


@pytest.mark.parametrize("which", PRINTED)
def test_the_papers_tables_come_out_to_the_printed_digit(which):
    printed = PRINTED[which]
    table = hp.parameter_table(unloaded(printed), without_heads(printed))
    assert as_printed(table) == [line.strip() for line in printed.lines.splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("which", PRINTED)
def test_pruned_models_are_those_of_the_papers(which):
    printed = PRINTED[which]
    model = hp.PrunableModel(unloaded(printed))
    pruned = hp.prune_heads(model, some_heads(model.grid.shape, printed.removed))
    assert as_printed(hp.parameter_table(model, pruned)) == [line.strip() for line in printed.lines.splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_lines_add_up_to_the_model_in_every_family(family):
    model = tiny(family)
    table = hp.parameter_table(hp.PrunableModel(model))
    assert table.parameters[0] == model.num_parameters() == sum(p.numel() for p in model.parameters())
    assert table.path[0] == ""
    parts = table[table.level == 1]
    assert parts.parameters.sum() == table.parameters[0]
    assert parts.share.sum() == pytest.approx(100)
    assert table.size_mib[0] == 4 * model.num_parameters() / 2**20
    for part in parts.itertuples():
        inside = table[table.path.str.startswith(f"{part.path}.")]
        assert (inside.level == 2).all()
        assert inside.parameters.sum() == part.parameters
    assert table.path.is_unique
    assert ((table.parameters > 0) | (table.tied_to != "")).all()


def test_tied_weights_count_once_and_say_with_whom():
    model = tiny("gpt2")
    table = hp.parameter_table(model).set_index("path")
    assert table.parameters["transformer.wte"] == 90 * 32
    assert table.parameters["lm_head"] == table.parameters["lm_head.weight"] == 0
    assert table.tied_to["lm_head"] == "transformer.wte.weight"
    assert table.module["transformer"] == "Base model"
    shared = hp.parameter_table(tiny("t5")).set_index("path")
    assert shared.parameters["shared"] == 90 * 32
    assert shared.parameters["encoder.embed_tokens"] == 0
    assert shared.tied_to["encoder.embed_tokens"] == "shared.weight"
    untied = hp.parameter_table(tiny("gpt-neox")).set_index("path")
    assert untied.parameters["embed_out" if "embed_out" in untied.index else "lm_head"] > 0


def test_a_module_that_is_gone_has_no_parameters_after():
    before, after = tiny("bert"), tiny("bert")
    after.bert.pooler = None
    table = hp.parameter_table(before, after).set_index("path")
    assert table.parameters["bert.pooler"] == 33 * 32
    assert table.parameters_after["bert.pooler"] == table.share_after["bert.pooler"] == 0
    assert table.parameters_after[""] == after.num_parameters()


def test_one_model_alone_has_no_columns_of_another():
    table = hp.parameter_table(tiny("bert"))
    assert list(table) == ["module", "path", "level", "tied_to", "parameters", "share", "size_mib"]
