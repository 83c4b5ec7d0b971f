"""Create leave_one_out.csv and the tables of LEAVE_ONE_OUT.md: leave-one-out ablation of the built-in model.

    python assets/docs/make_leave_one_out.py       # about 10 minutes on one core

Scores come from the 192 calibration tweets. The ablation runs on the same 192 tweets and on 960 evaluation tweets. Writes
one CSV row per head beside this file and prints the tables.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent))
import headprune_core as hp  # noqa: E402  (the script runs from any folder)
from headprune_core.figures.style import label  # noqa: E402
from headprune_core.scores.bootstrap import available  # noqa: E402

SETS = {"same 192": ("calibration", 192), "960 held-out": ("evaluation", 960)}


def with_interval(middle: float, low: float, high: float) -> str:
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def agreement_table(scores: hp.HeadScores, ablations: dict[str, hp.LeaveOneOut]) -> str:
    """Return a Markdown table of Kendall's τ of each criterion with both changes in loss, and the split-half reliability."""
    lines = {}
    for name, found in ablations.items():
        table = hp.compare_with_ablation(scores, found, paired=name == "same 192", resamples=1000)
        for line in table[~table.criterion.isin(["inverse_gnorm", "hies_keep_high"])].itertuples(index=False):
            pair = with_interval(*line[1:4]), with_interval(*line[4:7])
            lines.setdefault(label(line.criterion), []).extend(pair)
        halves = (hp.split_half(values) for values in (np.abs(found.per_example), found.per_example))
        lines.setdefault("split-half reliability", []).extend(with_interval(*half) for half in halves)
    lines = dict(sorted(lines.items(), key=lambda line: line[0].startswith("split")))
    changes = ("absolute change in loss", "signed change in loss")
    head = [f"{change}, {name} tweets" for name in ablations for change in changes]
    rows = [f"| {name} | " + " | ".join(cells) + " |" for name, cells in lines.items()]
    return "\n".join(["| Criterion | " + " | ".join(head) + " |", "|---" * (len(head) + 1) + "|", *rows])


def stability_table(scores: hp.HeadScores) -> str:
    """Return a Markdown table of Kendall's τ with the ranking from all 192 by size, and of two disjoint subsets."""
    found = {metric: hp.rank_stability(scores, metric) for metric in available(scores)}
    sizes = next(iter(found.values())).table["size"]
    rows = []
    for metric, one in found.items():
        cells = [
            f"{k:.2f} ({a:.2f})" if np.isfinite(a) else f"{k:.2f}" for k, a in one.table[["kendall", "apart"]].to_numpy()
        ]
        rows.append(f"| {label(metric)} | " + " | ".join(cells) + f" | {one.recommended_size or 'more'} |")
    return "\n".join(
        ["| | " + " | ".join(map(str, sizes)) + " | needed for τ ≥ 0.9 |", "|---" * (len(sizes) + 2) + "|", *rows]
    )


def main() -> None:
    model = hp.PrunableModel.from_pretrained("embedded")
    scores = hp.score_heads(model, hp.load_examples(size=192))
    ablations = {}
    for name, (split, size) in SETS.items():
        ablations[name] = hp.leave_one_out(model, hp.load_examples(split=split, size=size))
    frame = scores.to_frame().assign(hies_05=scores.hies(0.5).ravel())
    frames = [
        found.to_frame().drop(columns=["row", "head"]).add_suffix(f"_{split}")
        for found, (split, _) in zip(ablations.values(), SETS.values(), strict=True)
    ]
    pd.concat([frame, *frames], axis=1).to_csv(HERE / "leave_one_out.csv", index=False, float_format="%.6g")
    print(agreement_table(scores, ablations), "\n")
    print(stability_table(scores), "\n")
    for name, found in ablations.items():
        low, high = found.bootstrap()
        print(f"{name}: loss {found.loss:.4f}; one head changes the mean loss by {found.loss_change.min():.4f} to")
        print(f"{found.loss_change.max():.4f} nats and accuracy by up to {np.abs(found.accuracy_drop).max():.2%};")
        print(f"it rises significantly for {(low > 0).sum()} heads and falls for {(high < 0).sum()}, of {low.size}")


if __name__ == "__main__":
    main()
