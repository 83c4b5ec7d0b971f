"""Compare head scores of several runs: rank agreement with intervals, overlap of the pruned heads, and heads that moved.

Scores of different runs have different scales, so rankings are compared. Two calibration sets from one source do not agree
perfectly either; the agreement of two halves of a run's examples is the reference (split-half reliability, Spearman 1910).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from headprune_core.arguments import whole_number
from headprune_core.errors import HeadPruneError
from headprune_core.masks.criteria import CRITERIA
from headprune_core.masks.prune_mask import prune_mask
from headprune_core.measure.ranking_agreement import agreement_matrix
from headprune_core.scores.bootstrap import available, centered_interval, percentiles
from headprune_core.scores.head_scores import HeadScores

from .run_rankings import (
    bootstrap_rankings,
    half_agreement,
    number_of_examples,
    paired_taus,
    pruning_places,
)

RESAMPLES = 300


@dataclass(frozen=True)
class Comparison:
    """Head scores of K runs, compared in pairs.

    Attributes:
        names: Names of the runs.
        scores: Scores of the runs, of one shape (R, H).
        sparsity: Fraction of heads that are pruned for the overlap.
        agreement: One row per criterion and pair: criterion, first, second; kendall, Kendall's tau-b with its 95% bootstrap
            CI (kendall_low, kendall_high); half_first and half_second, the mean tau of two random halves of a run's
            examples, a lower bound of the tau of two calibration sets from its source; overlap, the Jaccard index of the
            pruned heads; chance, its expected value for random sets; common, the number of heads that both prune; pruned,
            the number of heads that each prunes. Intervals and halves are nan for a run on one example.
        settings: Options that differ between the runs, with their values in the order of `names`.
    """

    names: tuple[str, ...]
    scores: tuple[HeadScores, ...]
    sparsity: float
    agreement: pd.DataFrame
    settings: dict[str, tuple]
    _places: dict[str, np.ndarray]  # (K, R, H) by criterion
    _resampled: dict[str, list[np.ndarray | None]]  # (B, R, H) for each run; None for a run on one example

    @property
    def criteria(self) -> tuple[str, ...]:
        """The criteria that every run has."""
        return tuple(self._places)

    def places(self, criterion: str, run: str) -> np.ndarray:
        """Return the place of every head in the pruning order, (R, H); 1 is pruned first.

        Args:
            criterion: One of `criteria`.
            run: One of `names`.

        Raises:
            HeadPruneError: If a name is unknown.
        """
        return self._places[self._known("criterion", criterion, self.criteria)][self._number(run)]

    def moved(self, criterion: str, first: str | None = None, second: str | None = None) -> pd.DataFrame:
        """Return how far each head moves in the pruning order from one run to another.

        Args:
            criterion: One of `criteria`.
            first: One of `names`; by default the first one.
            second: One of `names`; by default the second one.

        Returns:
            One row per head, the largest change first: row, head; place_first, place_second; change, positive if `second`
            prunes the head later, with its 95% bootstrap CI (low, high; nan for a run on one example); pruned_first and
            pruned_second at `sparsity`. With 16 examples or more, about 6% of the heads whose place does not differ have an
            interval without 0.

        Raises:
            HeadPruneError: If a name is unknown.
        """
        self._known("criterion", criterion, self.criteria)
        a, b = (self._number(self.names[k] if run is None else run) for k, run in enumerate((first, second)))
        places = self._places[criterion]
        change = places[b] - places[a]
        low, high = np.full((2, *change.shape), np.nan)
        one, other = self._resampled[criterion][a], self._resampled[criterion][b]
        if one is not None and other is not None:
            changes = pruning_places(other) - pruning_places(one)
            # Resampling pulls places to the middle, so the interval is centered on the change, as that of a correlation.
            low, high = (limit + change - changes.mean(0) for limit in percentiles(changes))
        pruned = [~prune_mask(places[k], self.sparsity) for k in (a, b)]
        rows, heads = change.shape
        frame = pd.DataFrame(
            {
                "row": np.repeat(np.arange(rows), heads),
                "head": np.tile(np.arange(heads), rows),
                "place_first": places[a].ravel(),
                "place_second": places[b].ravel(),
                "change": change.ravel(),
                "low": low.ravel(),
                "high": high.ravel(),
                "pruned_first": pruned[0].ravel(),
                "pruned_second": pruned[1].ravel(),
            }
        )
        return frame.sort_values("change", key=lambda values: -values.abs(), kind="stable", ignore_index=True)

    def describe(self) -> list[str]:
        """Return one sentence on each setting that differs, and for every criterion one on each pair and one on halves."""
        lines = [
            f"{name}: {', '.join(f'{run} {value}' for run, value in zip(self.names, values, strict=True))}."
            for name, values in self.settings.items()
        ]
        for criterion, part in self.agreement.groupby("criterion", sort=False):
            name, halves = CRITERIA[criterion].label, {}
            for line in part.to_dict("records"):
                text = f"{name}: Kendall's τ of {line['first']} and {line['second']} is {line['kendall']:.2f}"
                if np.isfinite(line["kendall_low"]):
                    text += f" (95% CI {line['kendall_low']:.2f} to {line['kendall_high']:.2f})"
                if line["pruned"]:
                    text += (
                        f"; at {self.sparsity:.0%} sparsity both prune the same {line['common']} of {line['pruned']} heads "
                        f"(Jaccard index {line['overlap']:.2f}, {line['chance']:.2f} by chance)"
                    )
                lines.append(f"{text}.")
                halves |= {line["first"]: line["half_first"], line["second"]: line["half_second"]}
            known = [f"{value:.2f} ({run})" for run, value in halves.items() if np.isfinite(value)]
            if known:
                lines.append(f"{name}: Kendall's τ of two halves of the examples is {', '.join(known)}.")
        return lines

    def _number(self, run: str) -> int:
        return self.names.index(self._known("run", run, self.names))

    @staticmethod
    def _known(what: str, name: str, names: Sequence[str]) -> str:
        if name not in names:
            raise HeadPruneError(f"unknown {what} {name!r}; choose one of {', '.join(names)}")
        return name


def compare(
    *scores: HeadScores,
    names: Sequence[str] | None = None,
    sparsity: float = 0.3,
    alpha: float = 0.5,
    paired: bool = False,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Compare the head scores of two or more models, datasets, seeds or sets of options, without running a model.

    Args:
        *scores: Results of `score_heads`, of models with equally many layers and heads.
        names: Names of the runs; by default "run 1", "run 2" and so on.
        sparsity: Fraction of heads to prune for the overlap, 0 to 1.
        alpha: Alpha of HIES, 0 to 1.
        paired: Whether all runs are on the same examples, in the same order. Then intervals resample the examples once for
            all runs, which makes them narrower.
        resamples: Number of resamples of the examples, at least 2.
        seed: Seed of the resamples.

    Returns:
        The agreement of every pair for every criterion that all runs have.

    Raises:
        HeadPruneError: If there are fewer than two runs, if shapes differ, if the runs have no score in common, if paired
            runs have different numbers of examples, or if an argument is invalid.

    Example:
        >>> loss, prediction = (score_heads(model, examples, objective=name) for name in ("loss", "prediction"))
        >>> print(*compare(loss, prediction, names=("loss", "prediction"), paired=True).describe(), sep=" ")
    """
    names = tuple(names) if names is not None else tuple(f"run {number + 1}" for number in range(len(scores)))
    resamples, seed = whole_number("resamples", resamples, 2), whole_number("seed", seed, 0)
    _check(scores, names)
    counts = [number_of_examples(run) for run in scores]
    if paired and len(set(counts)) > 1:
        raise HeadPruneError(f"paired=True needs the same examples, got {', '.join(map(str, counts))}")
    criteria = [name for name in available(scores[0]) if all(name in available(run) for run in scores)]
    if not criteria:
        found = "; ".join(f"{name} {', '.join(run.per_example)}" for name, run in zip(names, scores, strict=True))
        raise HeadPruneError(f"the runs have no score in common ({found}); score them with the same metrics")
    seeds = [seed if paired else seed + number for number in range(len(scores))]
    lines, places, resampled = [], {}, {}
    for criterion in criteria:
        drawn = [bootstrap_rankings(run, criterion, alpha, resamples, one) for run, one in zip(scores, seeds, strict=True)]
        halves = [half_agreement(run, criterion, alpha, one) for run, one in zip(scores, seeds, strict=True)]
        rank = CRITERIA[criterion].rank
        rankings = np.stack([np.asarray(rank(run, alpha, np.random.default_rng(seed)), float) for run in scores])
        matrix = agreement_matrix(dict(zip(names, rankings, strict=True)), sparsity)
        pruned = [~prune_mask(ranking, sparsity) for ranking in rankings]
        for a, b in combinations(range(len(scores)), 2):
            interval = (float("nan"),) * 2
            if drawn[a] is not None and drawn[b] is not None:
                interval = centered_interval(matrix.kendall[a, b], paired_taus(drawn[a], drawn[b]))
            lines.append(
                {
                    "criterion": criterion,
                    "first": names[a],
                    "second": names[b],
                    "kendall": matrix.kendall[a, b],
                    "kendall_low": float(interval[0]),
                    "kendall_high": float(interval[1]),
                    "half_first": halves[a],
                    "half_second": halves[b],
                    "overlap": matrix.overlap[a, b],
                    "chance": matrix.chance,
                    "common": int((pruned[a] & pruned[b]).sum()),
                    "pruned": matrix.removed,
                }
            )
        places[criterion], resampled[criterion] = pruning_places(rankings), drawn
    return Comparison(names, scores, sparsity, pd.DataFrame(lines), _differences(scores), places, resampled)


def _check(scores: tuple[HeadScores, ...], names: tuple[str, ...]) -> None:
    if len(scores) < 2:
        raise HeadPruneError(f"compare needs the scores of two or more runs, got {len(scores)}")
    if len(names) != len(scores) or len(set(names)) != len(names):
        raise HeadPruneError(f"names must be {len(scores)} different names, one per run, got {', '.join(names) or 'none'}")
    shapes = [run.grid.shape for run in scores]
    if len(set(shapes)) > 1:
        found = ", ".join(f"{name} {rows} x {heads}" for name, (rows, heads) in zip(names, shapes, strict=True))
        raise HeadPruneError(f"only models with equally many layers and heads can be compared, got {found}")


def _differences(scores: tuple[HeadScores, ...]) -> dict[str, tuple]:
    """The settings that differ between the runs; None where a run does not have the setting."""
    known = dict.fromkeys(name for run in scores for name in run.settings)
    values = {name: tuple(run.settings.get(name) for run in scores) for name in known}
    return {name: found for name, found in values.items() if any(value != found[0] for value in found)}
