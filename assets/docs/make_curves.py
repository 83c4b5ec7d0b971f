"""Create curves.csv, greedy.csv and their figures: every criterion on the built-in model, and Greedy-Gnorm.

    python -m assets.docs.make_curves [FOLDER]        (FOLDER: result cache, so that an interrupted run can resume)

Scores, leave-one-out ablation and Greedy-Gnorm use 32 tweets, accuracy uses 960 held-out tweets. Every criterion is
evaluated in steps of one head from 0% to 90% sparsity, and 20 random rankings every 5%. Prints the numbers of CURVES.md and
the processor time.
"""

import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

import headprune_core as hp
from headprune_core.figures.curves import curves_figure
from headprune_core.masks.criteria import method_label
from headprune_core.measure.curve_metrics import summary
from headprune_core.measure.curve_verdicts import describe_stability, describe_verdict
from headprune_core.measure.failure_signatures import failure_signatures
from headprune_core.measure.paired_tests import paired

HERE = Path(__file__).parent
METHODS = ["his", "hies@0.25", "hies", "hies@0.75", "hies_keep_high", "gnorm", "greedy_gnorm", "ae", "inverse_ae"]
METHODS += ["leave_one_out", "inverse_gnorm", "inverse_greedy_gnorm"]
FIGURES = {
    "curves": ["his", "hies", "hies@0.75", "gnorm", "greedy_gnorm", "ae", "inverse_ae", "leave_one_out"],
    "greedy": ["gnorm", "greedy_gnorm", "inverse_gnorm", "inverse_greedy_gnorm"],
}
N_RANDOM, CALIBRATION, EVALUATION = 20, 32, 960


def main(folder: str | None = None) -> None:
    cache = None if folder is None else hp.ResultCache(folder)
    model = hp.PrunableModel.from_pretrained(device="cpu")
    few, many = hp.load_examples(size=CALIBRATION), hp.load_examples(split="evaluation", size=EVALUATION)
    scores = hp.score_heads(model, few)
    greedy = hp.greedy_gnorm(model, few, evaluation=many, cache=cache)
    inverse = hp.greedy_gnorm(model, few, evaluation=many, inverse=True, cache=cache)
    rankings = {"greedy_gnorm": greedy.ranking, "inverse_greedy_gnorm": inverse.ranking}
    rankings["leave_one_out"] = hp.leave_one_out(model, few).loss_change
    heads = int(np.prod(model.grid.shape))
    fine = [k / heads for k in range(round(0.9 * heads) + 1)]
    coarse = [round(0.05 * k, 2) for k in range(19)]
    found = hp.measure_curves(model, many, scores, methods=METHODS, sparsities=fine, rankings=rankings, cache=cache)
    random = hp.measure_curves(model, many, scores, methods=["random"], sparsities=coarse, n_random=N_RANDOM, cache=cache)
    minutes = time.process_time() / 60
    frame = pd.concat([found.frame, random.frame], ignore_index=True)
    frame.to_csv(HERE / "curves.csv", index=False, float_format="%.6g")
    greedy.to_frame().to_csv(HERE / "greedy.csv", index=False, float_format="%.6g")
    draw(frame, 1 / len(model.labels))
    print(table(frame), "\n")
    print(summary(frame).round(3).to_string(index=False), "\n")
    for method, words in describe_verdict(frame).items():
        print(f"- **{method_label(method)}**: {words}")
    print(describe_stability(frame), "\n", *[f"- {s.sentence}\n" for s in failure_signatures(frame)])
    print(paired(found.frame, found.outcomes, fine[heads // 2]).round(4).to_string())
    print("inflection points:", greedy.inflection, inverse.inflection)
    print(f"processor time of this run: {minutes:.0f} min")


def draw(frame: pd.DataFrame, chance: float) -> None:
    from .make_pictures import write_svg

    figures = {}
    for name, shown in FIGURES.items():
        figure = curves_figure(frame[frame.method.isin([*shown, "random"])], chance=chance)
        figure.update_traces(error_y={"visible": False}, marker={"size": 5}, selector={"mode": "lines+markers"})
        figures[name] = figure.update_layout(template="plotly_white", width=1000, height=600)
    write_svg(figures, height=600)


def table(frame: pd.DataFrame, at=(0.1, 0.3, 0.5, 0.7)) -> str:
    """Return a Markdown table of accuracy in percent by criterion and sparsity, with the range of the random rankings."""
    lines = ["| Criterion | " + " | ".join(f"{share:.0%}" for share in at) + " |", "|---" * (len(at) + 1) + "|"]
    for method, part in frame.groupby("method", sort=False):
        nearest = [part[(part.sparsity - share).abs() == (part.sparsity - share).abs().min()].accuracy for share in at]
        cells = [f"{100 * v.min():.1f}" + (f" to {100 * v.max():.1f}" if len(v) > 1 else "") for v in nearest]
        lines.append(f"| {method_label(method)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main(*sys.argv[1:2])
