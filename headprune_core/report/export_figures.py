"""Every figure that there is of a pruned model and its record, by the name of its file."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from headprune_core.figures.curves import curves_figure
from headprune_core.figures.heatmaps import score_heatmap
from headprune_core.figures.latency import latency_figure
from headprune_core.figures.pruned import baseline_figure, head_map_figure, mark_removed, recovery_figure
from headprune_core.measure.curves import main_measure
from headprune_core.model.prunable_model import PrunableModel
from headprune_core.scores.head_scores import HeadScores

from .pruning_record import PruningRecord

METRICS = {"his": "HIS", "ae": "AE", "gnorm": "Gnorm"}


def export_figures(
    pruned: PrunableModel, record: PruningRecord, *, scores: HeadScores | None = None, curves: pd.DataFrame | None = None
) -> dict[str, go.Figure]:
    """The head map, and what is known beside it: scores with removed heads marked, curves, control, latency, recovery."""
    grid = pruned.grid
    present = np.array([np.isin(np.arange(row.heads), row.present) for row in grid.rows])
    found = {"head_map": head_map_figure(grid.kept, present, grid.row_labels)}
    for metric in () if scores is None else scores.per_example:
        found[metric] = _scores(getattr(scores, metric), METRICS[metric], grid)
    if curves is not None:
        found["curves"] = curves_figure(curves, main_measure(curves))
    made = {
        "random_baseline": (record.random_baseline, baseline_figure),
        "latency": (record.latency, latency_figure),
        "recovery": (record.recovery, recovery_figure),
    }
    return found | {name: draw(what) for name, (what, draw) in made.items() if what is not None}


def _scores(values: np.ndarray, name: str, grid) -> go.Figure:
    hover = [f"{grid.row_labels[row]}, head {head}: {value:.4g}" for (row, head), value in np.ndenumerate(values)]
    return mark_removed(score_heatmap(values, name, hover, labels=grid.row_labels), grid.kept)
