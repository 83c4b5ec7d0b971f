"""All figures of a pruned model and its record, by file name, for the export bundle."""

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

METRICS = {"his": "HIS", "ae": "AE (dark: low)", "gnorm": "Gnorm"}


def export_figures(
    pruned: PrunableModel, record: PruningRecord, *, scores: HeadScores | None = None, curves: pd.DataFrame | None = None
) -> dict[str, go.Figure]:
    """Return the figures of a pruned model.

    Args:
        pruned: pruned model.
        record: how it was pruned and evaluated.
        scores: scores to draw with the removed heads marked.
        curves: sparsity curves.

    Returns:
        Figures by file name without suffix: head_map and, if known, the scores, curves, random_baseline, latency, recovery.
    """
    grid = pruned.grid
    present = np.array([np.isin(np.arange(row.heads), row.present) for row in grid.rows])
    figures = {"head_map": head_map_figure(grid.kept, present, grid.row_labels)}
    for metric in () if scores is None else scores.per_example:
        figures[metric] = _scores(metric, getattr(scores, metric), grid)
    if curves is not None:
        figures["curves"] = curves_figure(curves, main_measure(curves))
    optional = {
        "random_baseline": (record.random_baseline, baseline_figure),
        "latency": (record.latency, latency_figure),
        "recovery": (record.recovery, recovery_figure),
    }
    return figures | {name: draw(data) for name, (data, draw) in optional.items() if data is not None}


def _scores(metric: str, values: np.ndarray, grid) -> go.Figure:
    hover = [f"{grid.row_labels[row]}, head {head}: {value:.4g}" for (row, head), value in np.ndenumerate(values)]
    return mark_removed(score_heatmap(values, METRICS[metric], hover, labels=grid.row_labels, role=metric), grid.kept)
