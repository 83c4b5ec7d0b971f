"""The documented roles of the built-in model are those that are computed, and the document's tables agree with its data."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from assets.docs.make_roles import MODELS, counts_table, effect_by_role, effect_table, grid_table, traits_of

DOCS = Path(__file__).resolve().parents[2] / "assets" / "docs"
TEXT = (DOCS / "ROLES.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def documented():
    table = pd.read_csv(DOCS / "roles.csv")
    return {name: table[table.model == name].reset_index(drop=True) for name in MODELS}


def test_the_tables_of_the_document_are_those_of_its_data(documented):
    assert counts_table(documented) in TEXT
    assert grid_table(documented["Built-in model"]) in TEXT
    random = documented["BERT-base with random weights"]
    assert random.entropy.min() >= 0.987
    assert random.lift.max() <= 0.025
    sinks = documented["Built-in model"].query("primary == 'sink'")
    assert len(sinks) == 35
    assert sinks.evidence.str.contains('most often "[CLS]"', regex=False).all()


@pytest.mark.slow
def test_the_documented_roles_of_the_built_in_model_are_computed_again(documented):
    traits, expected = traits_of("Built-in model"), documented["Built-in model"]
    table = traits.roles()
    assert table[["row", "head", "primary", "largest", "evidence"]].equals(
        expected[["row", "head", "primary", "largest", "evidence"]]
    )
    np.testing.assert_allclose(
        table[["score", "lift", "entropy"]], expected[["score", "lift", "entropy"]], rtol=2e-3, atol=1e-4
    )
    stated = re.search(r"\| 25% \| (\d+)% \((\d+)%\)", TEXT)
    assert int(stated[1]) == round(100 * traits.label_stability())
    assert int(stated[2]) == int(100 * (~table.primary.isin(["mixed", "broad"])).mean())
    effects = effect_by_role(traits, "abs_loss_change")
    assert effect_table(effects) in TEXT
    assert f"The mean of all heads is {effects.mean:.4f}." in TEXT
    for measure in ("abs_loss_change", "loss_change"):
        assert effect_by_role(traits, measure).verdict.startswith("No role differs significantly from all 72 heads")
