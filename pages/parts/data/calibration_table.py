"""The calibration set as the page Model & data shows it."""

import pandas as pd

from headprune_core.data.plan.sentences import tagged_words
from headprune_core.data.tasks import WORDS, tag_column
from pages.parts.common.workspace import Workspace


def calibration_table(loaded: Workspace) -> pd.DataFrame:
    """Return the calibration set with names of labels, and with words that carry their tags."""
    table = loaded.calibration.to_pandas()
    if loaded.labelled:
        name = "target" if loaded.model.task == "translation" else "label"
        table.insert(0, name, loaded.label_names(list(table.pop("label"))))
    words = next((name for name in WORDS if name in table), None)
    if words is None or loaded.model.task != "token_classification":
        return table
    column = tag_column(loaded.calibration.column_names)
    tags = [[None] * len(row) for row in table[words]] if column is None else table[column]
    shown = [tagged_words(*row, loaded.model.labels) for row in zip(table[words], tags, strict=True)]
    table = table.drop(columns=[name for name in ("text", words, column) if name in table])
    table.insert(0, "words", shown)
    return table
