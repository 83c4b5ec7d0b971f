"""How alpha_path.csv and the figures and numbers of ALPHA.md are made: which alpha, on the embedded model.

    python -m assets.docs.make_alpha [FOLDER]        (FOLDER keeps what is finished, so that it can be stopped and go on)

Scores from 32 tweets; every mask along alpha at 30 and 50 % measured on 960 others; the budgeted search, also over 200
orders of the texts. Prints what ALPHA.md says, and the processor time: divide by your cores.
"""

import sys
import time
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

import headprune_core as hp
from headprune_core.alpha_choice.alpha_text import describe_halving, describe_recommendation
from headprune_core.alpha_choice.successive_halving import elimination, nested_order, pairs_run, schedule
from headprune_core.figures.alpha import alpha_steps, describe_alpha_steps, describe_surface

HERE = Path(__file__).parent
SPARSITIES = (0.3, 0.5)
SCALINGS = ("layer", "global")
SURFACE = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
CALIBRATION, EVALUATION, ORDERS = 32, 960, 200


def main(folder: str | None = None) -> None:
    cache = None if folder is None else hp.ResultCache(folder)
    model = hp.PrunableModel.from_pretrained(device="cpu")
    few, many = hp.load_examples(size=CALIBRATION), hp.load_examples(split="evaluation", size=EVALUATION)
    scores = hp.score_heads(model, few)
    frames, figures = [], {}
    for scaling, sparsity in product(SCALINGS, SPARSITIES):
        path = hp.alpha_path(scores.his, scores.ae, sparsity, normalize=scaling)
        print(f"\n## {sparsity:.0%} of the heads removed, {scaling} scaling\n")
        found = measured(model, many, path, cache)
        frames.append(found.frame.assign(sparsity=sparsity, scaling=scaling))
        if scaling == "layer":
            figures[f"alpha_{100 * sparsity:.0f}"] = alpha_steps(found, hp.recommend_alpha(found))
    frame = pd.concat(frames, ignore_index=True)
    first = ["scaling", "sparsity"]
    frame[[*first, *frame.columns.drop(first)]].to_csv(HERE / "alpha_path.csv", index=False, float_format="%.6g")
    draw(figures)
    surface = hp.alpha_surface(model, many, scores, SURFACE, cache=cache)
    print("\n## Alpha against sparsity, layer scaling\n")
    print(describe_surface(surface), "\n")
    print(surface.best.round(4).to_string(index=False))
    for sparsity in SURFACE:
        path = hp.alpha_path(scores.his, scores.ae, sparsity)
        chosen = hp.recommend_alpha(hp.alpha_accuracy(model, many, path, n_random=0, cache=cache))
        held = chosen.cross_validated
        print(f"{sparsity:.0%}: {chosen.verdict} Held out {held.value:.4f}, p {held.against_his.p_value:.4f}, ", end="")
        print(f"corrected p {chosen.p_corrected:.4f}, Cochran's {chosen.cochran.p_corrected:.4f}, near {chosen.near:.3f}")
    print(f"\nprocessor time of this run: {time.process_time() / 60:.1f} min")


def measured(model: hp.PrunableModel, examples, path: list, cache: hp.ResultCache | None) -> hp.AlphaAccuracy:
    """A path measured, recommended from and searched; all of it is printed."""
    start = time.process_time()
    hp.alpha_accuracy(model, examples, path, n_random=0, cache=cache)
    full = time.process_time() - start
    found = hp.alpha_accuracy(model, examples, path, cache=cache)
    by_accuracy = hp.recommend_alpha(found)
    print(describe_alpha_steps(found, by_accuracy), "\n")
    for chosen in (by_accuracy, hp.recommend_alpha(found, by="agreement")):
        print(f"By {chosen.by}: alpha {chosen.alpha_text} ({chosen.low:.4f} to {chosen.high:.4f}), {chosen.ties} as good\n")
        print(*(f"- {sentence}\n" for sentence in describe_recommendation(chosen)), sep="")
    start = time.process_time()
    search = hp.successive_halving(model, examples, path, cache=cache)
    quick = time.process_time() - start
    print(describe_halving(search, search.gap(found)), "\n")
    print(search.frame.round(4).to_string(index=False), "\n")
    print(*(often(found, examples, last) for last in (4, 2, 1)), sep="\n")
    print(f"processor time: full search {full:.0f} s, quick one {quick:.0f} s (0 s: it was looked up)")
    return found


def often(found: hp.AlphaAccuracy, examples, last: int) -> str:
    """How the budgeted search does over many orders of the same texts; what is known of all texts is looked up."""
    right, texts = found.right[found.first], len(examples)
    plan, best = schedule(len(right), texts, last=last), right.mean(1).max()
    gaps = []
    for seed in range(ORDERS):
        order = nested_order(examples["label"], texts, seed=seed)
        *_, end = elimination(lambda masks, a, b, order=order: right[masks][:, order[a:b]], found.widths, plan)
        gaps.append(100 * (best - end.values.max()))
    gaps = np.array(gaps)
    return (
        f"{last} or fewer masks on all texts: {pairs_run(plan) / right.size:.0%} of the work. Over {ORDERS} orders of the "
        f"texts as good as the full search in {(gaps < 1e-9).mean():.1%}, within half a point in "
        f"{(gaps <= 0.5).mean():.1%}; {gaps.mean():.3f} points behind on average, {gaps.max():.2f} at worst."
    )


def draw(figures: dict) -> None:
    from .make_pictures import write_svg

    shown = {name: figure.update_layout(template="plotly_white", width=1000, height=560) for name, figure in figures.items()}
    write_svg(shown)


if __name__ == "__main__":
    main(*sys.argv[1:2])
