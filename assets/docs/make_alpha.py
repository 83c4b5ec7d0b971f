"""Create alpha_path.csv and the figures and numbers of ALPHA.md: choice of alpha on the built-in model.

    python -m assets.docs.make_alpha [FOLDER]        (FOLDER: result cache, so that an interrupted run can resume)

Scores come from 32 tweets, and every mask along alpha at 30% and 50% sparsity is evaluated on 960 held-out tweets.
Successive halving is also run over 200 shuffles of the examples. Prints the numbers of ALPHA.md and the processor time.
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
        print(f"\n## {sparsity:.0%} sparsity, {scaling} scaling\n")
        accuracy = evaluated_path(model, many, path, cache)
        frames.append(accuracy.frame.assign(sparsity=sparsity, scaling=scaling))
        if scaling == "layer":
            figures[f"alpha_{100 * sparsity:.0f}"] = alpha_steps(accuracy, hp.recommend_alpha(accuracy))
    frame = pd.concat(frames, ignore_index=True)
    first = ["scaling", "sparsity"]
    frame[[*first, *frame.columns.drop(first)]].to_csv(HERE / "alpha_path.csv", index=False, float_format="%.6g")
    draw(figures)
    surface = hp.alpha_surface(model, many, scores, SURFACE, cache=cache)
    print("\n## Alpha vs. sparsity, layer scaling\n")
    print(describe_surface(surface), "\n")
    print(surface.best.round(4).to_string(index=False))
    for sparsity in SURFACE:
        path = hp.alpha_path(scores.his, scores.ae, sparsity)
        chosen = hp.recommend_alpha(hp.alpha_accuracy(model, many, path, n_random=0, cache=cache))
        held = chosen.cross_validated
        print(
            f"{sparsity:.0%}: {chosen.verdict} Cross-validated {held.value:.4f}, p {held.against_his.p_value:.4f}, ", end=""
        )
        print(f"corrected p {chosen.p_corrected:.4f}, Cochran's {chosen.cochran.p_corrected:.4f}, near {chosen.near:.3f}")
    print(f"\nprocessor time of this run: {time.process_time() / 60:.1f} min")


def evaluated_path(model: hp.PrunableModel, examples, path: list, cache: hp.ResultCache | None) -> hp.AlphaAccuracy:
    """Evaluate a path, recommend an alpha and run successive halving; print all results."""
    start = time.process_time()
    hp.alpha_accuracy(model, examples, path, n_random=0, cache=cache)
    full = time.process_time() - start
    accuracy = hp.alpha_accuracy(model, examples, path, cache=cache)
    by_accuracy = hp.recommend_alpha(accuracy)
    print(describe_alpha_steps(accuracy, by_accuracy), "\n")
    for chosen in (by_accuracy, hp.recommend_alpha(accuracy, by="agreement")):
        print(f"By {chosen.by}: alpha {chosen.alpha_text} ({chosen.low:.4f} to {chosen.high:.4f}), {chosen.ties} tied\n")
        print(*(f"- {sentence}\n" for sentence in describe_recommendation(chosen)), sep="")
    start = time.process_time()
    search = hp.successive_halving(model, examples, path, cache=cache)
    quick = time.process_time() - start
    print(describe_halving(search, search.gap(accuracy)), "\n")
    print(search.frame.round(4).to_string(index=False), "\n")
    print(*(repeated_halving(accuracy, examples, last) for last in (4, 2, 1)), sep="\n")
    print(f"processor time: full search {full:.0f} s, successive halving {quick:.0f} s (0 s: from the cache)")
    return accuracy


def repeated_halving(accuracy: hp.AlphaAccuracy, examples, last: int) -> str:
    """Describe successive halving over many shuffles of the same examples, from the known results on all of them."""
    right, texts = accuracy.right[accuracy.first], len(examples)
    plan, best = schedule(len(right), texts, last=last), right.mean(1).max()
    gaps = []
    for seed in range(ORDERS):
        order = nested_order(examples["label"], texts, seed=seed)
        *_, end = elimination(lambda masks, a, b, order=order: right[masks][:, order[a:b]], accuracy.widths, plan)
        gaps.append(100 * (best - end.values.max()))
    gaps = np.array(gaps)
    return (
        f"{last} or fewer masks on all examples: {pairs_run(plan) / right.size:.0%} of the cost. Over {ORDERS} shuffles of "
        f"the examples as good as the full search in {(gaps < 1e-9).mean():.1%}, within 0.5 pp in "
        f"{(gaps <= 0.5).mean():.1%}; mean loss {gaps.mean():.3f} pp, largest loss {gaps.max():.2f} pp."
    )


def draw(figures: dict) -> None:
    from .make_pictures import write_svg

    shown = {name: figure.update_layout(template="plotly_white", width=1000, height=560) for name, figure in figures.items()}
    write_svg(shown)


if __name__ == "__main__":
    main(*sys.argv[1:2])
