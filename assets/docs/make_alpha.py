"""How alpha_path.csv and the figures and numbers of ALPHA.md are made: which alpha, on the embedded model.

    python -m assets.docs.make_alpha [FOLDER]        (FOLDER keeps what is finished, so that it can be stopped and go on)

Scores from 32 tweets; every mask along alpha at 30 and 50 % measured on 960 others; the budgeted search, also over 200
orders of the texts. Prints what ALPHA.md says, and the processor time: divide by your cores.
"""

import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

import headprune_core as hp
from headprune_core.figures_alpha import alpha_steps, alpha_steps_words, halving_words, recommendation_words, surface_words
from headprune_core.halving import elimination, nested_order, schedule

HERE = Path(__file__).parent
SPARSITIES = (0.3, 0.5)
SURFACE = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
CALIBRATION, EVALUATION, ORDERS = 32, 960, 200


def main(folder: str | None = None) -> None:
    store = None if folder is None else hp.Store(folder)
    model = hp.PrunableModel.from_pretrained(device="cpu")
    few, many = hp.load_examples(size=CALIBRATION), hp.load_examples(split="evaluation", size=EVALUATION)
    scores = hp.score_heads(model, few)
    frames, figures = [], {}
    for sparsity in SPARSITIES:
        path = hp.alpha_path(scores.his, scores.ae, sparsity)
        start = time.process_time()
        found = hp.alpha_accuracy(model, many, path, store=store)
        full = time.process_time() - start
        by_accuracy, by_agreement = hp.recommend(found), hp.recommend(found, by="agreement")
        start = time.process_time()
        search = hp.successive_halving(model, many, path, store=store)
        quick = time.process_time() - start
        print(f"\n## {sparsity:.0%} of the heads removed\n")
        print(alpha_steps_words(found, by_accuracy), "\n")
        for name, chosen in (("accuracy", by_accuracy), ("agreement", by_agreement)):
            print(f"By {name}: alpha {chosen.alpha_shown} ({chosen.low:.4f} to {chosen.high:.4f}), {chosen}\n")
            print(*(f"- {sentence}\n" for sentence in recommendation_words(chosen)))
        print(halving_words(search, search.gap(found)), "\n")
        print(search.frame.round(4).to_string(index=False))
        print(often(found, many, sparsity), "\n")
        print(f"processor time: full search with 20 random masks {full:.0f} s, quick one {quick:.0f} s")
        frames.append(found.frame.assign(sparsity=sparsity))
        figures[f"alpha_{100 * sparsity:.0f}"] = alpha_steps(found, by_accuracy)
    frame = pd.concat(frames, ignore_index=True)
    frame[["sparsity", *frame.columns.drop("sparsity")]].to_csv(HERE / "alpha_path.csv", index=False, float_format="%.6g")
    draw(figures)
    surface = hp.alpha_surface(model, many, scores, SURFACE, store=store)
    print("\n## Alpha against sparsity\n")
    print(surface_words(surface), "\n")
    print(surface.best.round(4).to_string(index=False))
    print(f"\nprocessor time of this run: {time.process_time() / 60:.1f} min")


def often(found: hp.AlphaAccuracy, examples, sparsity: float) -> str:
    """How the budgeted search does over many orders of the same texts: what is known of all texts is looked up."""
    right, texts = found.right[found.first], len(examples)
    plan, value = schedule(len(right), texts), right.mean(1)
    gaps = []
    for seed in range(ORDERS):
        order = nested_order(examples["label"], texts, seed=seed)
        *_, last = elimination(lambda masks, a, b, order=order: right[masks][:, order[a:b]], found.widths, plan)
        gaps.append(value.max() - last.values.max())
    gaps = 100 * np.array(gaps)
    return (
        f"Over {ORDERS} orders of the texts at {sparsity:.0%}: the full search's accuracy is reached in "
        f"{(gaps < 1e-9).mean():.0%}, within half a point in {(gaps <= 0.5).mean():.0%}, within one point in "
        f"{(gaps <= 1.0).mean():.0%}; the gap is {gaps.mean():.2f} points on average, {gaps.max():.2f} at worst."
    )


def draw(figures: dict) -> None:
    from .make_pictures import write_svg

    shown = {name: figure.update_layout(template="plotly_white", width=1000, height=560) for name, figure in figures.items()}
    write_svg(shown)


if __name__ == "__main__":
    main(*sys.argv[1:2])
