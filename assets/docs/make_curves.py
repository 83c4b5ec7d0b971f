"""Makes CURVES.md, curves.csv, greedy.csv and their figures: every criterion on the embedded model, and Greedy-Gnorm.

    python -m assets.docs.make_curves [FOLDER]        (FOLDER keeps what is finished, so that it can be stopped and go on)

Scores, leave-one-out and Greedy-Gnorm from 32 tweets; accuracy on 960 others. Every criterion one head at a time from 0 to
90 %, 20 random orders every 5 %. What it took is told as processor time: divide by your cores.
"""

import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

import headprune_core as hp
from headprune_core.figures import curves_figure
from headprune_core.judgements import summary, verdict_words
from headprune_core.paired_tests import paired

HERE = Path(__file__).parent
METHODS = [
    "his",
    "hies@0.25",
    "hies",
    "hies@0.75",
    "hies_high",
    "gnorm",
    "greedy_gnorm",
    "ae",
    "inverse_ae",
    "leave_one_out",
]
CONTROLS = ["inverse_gnorm", "inverse_greedy_gnorm"]
SEEDS, CALIBRATION, EVALUATION = 20, 32, 960


def main(folder: str | None = None) -> None:
    store = None if folder is None else hp.Store(folder)
    model = hp.PrunableModel.from_pretrained(device="cpu")
    few, many = hp.load_examples(size=CALIBRATION), hp.load_examples(split="evaluation", size=EVALUATION)
    scores = hp.score_heads(model, few)
    greedy = {
        inverse: hp.greedy_gnorm(model, few, evaluation=many, inverse=inverse, store=store) for inverse in (False, True)
    }
    rankings = {"greedy_gnorm": greedy[False].ranking, "inverse_greedy_gnorm": greedy[True].ranking}
    rankings["leave_one_out"] = hp.leave_one_out(model, few).loss_increase
    heads = int(np.prod(model.grid.shape))
    fine = [k / heads for k in range(round(0.9 * heads) + 1)]
    coarse = [round(0.05 * k, 2) for k in range(19)]
    methods = METHODS + CONTROLS
    found = hp.measure_curves(model, many, scores, methods=methods, sparsities=fine, rankings=rankings, store=store)
    random = hp.measure_curves(model, many, scores, methods=["random"], sparsities=coarse, seeds=SEEDS, store=store)
    frame = pd.concat([found.frame, random.frame], ignore_index=True)
    frame.round(6).to_csv(HERE / "curves.csv", index=False)
    greedy[False].to_frame().round(6).to_csv(HERE / "greedy.csv", index=False)
    figures = {"curves": METHODS, "greedy": ["gnorm", "greedy_gnorm", *CONTROLS]}
    for name, shown in figures.items():
        figure = curves_figure(frame[frame.method.isin([*shown, "random"])], chance=1 / len(model.labels))
        figure.update_traces(error_y=None, marker_size=5, selector={"mode": "lines+markers"})
        figure.update_layout(template="plotly_white", width=1000, height=560)
        figure.write_image(HERE / f"{name}.svg")
    paired(found.frame, found.right, min(fine, key=lambda s: abs(s - 0.5))).to_csv(sys.stdout)
    summary(frame).round(3).to_csv(sys.stdout, index=False)
    for words in verdict_words(frame).values():
        print("-", words)
    print("Greedy-Gnorm's inflection point:", greedy[False].inflection, "heads;", "inverse:", greedy[True].inflection)
    print(f"processor time {time.process_time() / 60:.0f} min")


if __name__ == "__main__":
    main(*sys.argv[1:2])
