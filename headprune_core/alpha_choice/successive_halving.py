"""Successive halving over the masks of an alpha path (Karnin, Koren and Somekh 2013; Jamieson and Talwalkar 2016).

All masks are evaluated on a small subset of the examples; the better half advances to a subset twice as large, until at most
`last` masks remain and are evaluated on all examples. Subsets are nested, so no mask is evaluated twice on the same example.
The cost is counted in pairs of a mask and an example, without the unpruned model.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import datasets
import numpy as np
import pandas as pd

from headprune_core.data.tasks import has_targets, task_of
from headprune_core.errors import Cancelled, HeadPruneError
from headprune_core.masks.alpha_path import AlphaInterval, distinct_masks
from headprune_core.measure.evaluation import evaluate_masks
from headprune_core.model.prunable_model import PrunableModel
from headprune_core.result_cache import ResultCache

from .alpha_accuracy import AlphaAccuracy, per_example
from .recommendation import best_mask

LAST = 4  # masks
FIRST = 32  # examples


@dataclass(frozen=True, eq=False)
class Round:
    """One round of successive halving.

    Attributes:
        masks: int (m,), indices of the masks in the round.
        texts: number of examples they have been evaluated on by its end.
        values: (m,), the selection measure on these examples.
        kept: number of masks that advance; 1 in the last round, the selected one.
    """

    masks: np.ndarray
    texts: int
    values: np.ndarray
    kept: int


@dataclass(frozen=True, eq=False)
class HalvingResult:
    """Result of a search by successive halving.

    Attributes:
        by: the selection measure, "accuracy" or "agreement".
        mask: index of the selected mask among the distinct masks of the path.
        alpha: midpoint of (low, high).
        low: lower bound of the widest alpha interval of the mask.
        high: upper bound of that interval.
        value: the selection measure under the mask on the examples of the last round.
        rounds: the rounds.
        pairs: number of pairs of a mask and an example that were evaluated.
        all_pairs: the same for the full search.
    """

    by: str
    mask: int
    alpha: float
    low: float
    high: float
    value: float
    rounds: tuple[Round, ...]
    pairs: int
    all_pairs: int

    @property
    def share(self) -> float:
        """Cost as a share of that of the full search."""
        return self.pairs / self.all_pairs

    @property
    def frame(self) -> pd.DataFrame:
        """One row per round: round (from 1), masks, texts (examples), kept, best and worst value."""
        rows = [(i, len(r.masks), r.texts, r.kept, r.values.max(), r.values.min()) for i, r in enumerate(self.rounds, 1)]
        return pd.DataFrame(rows, columns=["round", "masks", "texts", "kept", "best", "worst"])

    def gap(self, found: AlphaAccuracy) -> float:
        """Compare the selected mask with the best mask of the full search.

        Args:
            found: full search on the same path.

        Returns:
            Best value of the full search minus that of the selected mask, as a share; 0 if they are equal.

        Raises:
            HeadPruneError: if the full search has fewer masks.
        """
        values = getattr(found, self.by)[found.first]
        if self.mask >= len(values):
            raise HeadPruneError(f"found must be the full search on the same path, got one with {len(values)} masks")
        return float(values.max() - values[self.mask])


def successive_halving(
    model: PrunableModel,
    examples: datasets.Dataset,
    path: Sequence[AlphaInterval],
    *,
    by: str | None = None,
    last: int = LAST,
    first: int = FIRST,
    seed: int = 0,
    batch_size: int = 32,
    dtype: str | None = None,
    cache: ResultCache | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> HalvingResult:
    """Search an alpha path for the best mask at a fraction of the cost of the full search.

    Args:
        model: the unpruned model.
        examples: evaluation examples, not those of the scores.
        path: result of `alpha_path`.
        by: "accuracy" or "agreement". None selects accuracy if labels are available.
        last: number of masks that are evaluated on all examples.
        first: minimum number of examples in a round.
        seed: of the order of the examples.
        batch_size: maximum batch size.
        dtype: precision of matrix multiplications, as in `evaluate_masks`.
        cache: results are read from it and stored in it.
        progress: called as progress(done, total, note). If it raises Cancelled, the exception has the result of the finished
            rounds as its attribute `partial`, None before the first.

    Returns:
        The selected mask, its alpha interval and the rounds.

    Raises:
        HeadPruneError: for an empty path, an unknown `by`, accuracy without labels, agreement for token prediction, and
            regression.
    """
    path = tuple(path)
    if not path or last < 1 or first < 1:
        raise HeadPruneError(
            f"path, last and first must be at least 1, got {len(path)} intervals, last {last}, first {first}"
        )
    by = _by(by, model, has_targets(model, examples.column_names))
    masks, which = distinct_masks(path)
    widths = np.bincount(which, [part.high - part.low for part in path], len(masks))
    order = nested_order(examples["label"] if "label" in examples.column_names else None, len(examples), seed=seed)
    plan = schedule(len(masks), len(order), last=last, first=first)
    total, unpruned = pairs_run(plan), np.ones((1, *masks.shape[1:]), bool)
    rounds: list[Round] = []

    def evaluate(alive: np.ndarray, start: int, stop: int) -> np.ndarray:
        done = pairs_run(plan[: len(rounds)])
        new, note = len(alive) * (stop - start), f"Round {len(rounds) + 1} of {len(plan)}: {len(alive)} masks"

        def report(at: int, of: int, _: str) -> None:
            if progress is not None:
                progress(done + new * at // of, total, note)

        options = {"batch_size": batch_size, "dtype": dtype, "cache": cache, "progress": report}
        with_unpruned = np.concatenate([masks[alive], unpruned])
        result = evaluate_masks(model, examples.select(order[start:stop]), with_unpruned, **options)
        right, agrees, _ = per_example(result)
        # Without labels, `right` of a token classifier is the share of predictions that equal the unpruned model's.
        return (right if by == "accuracy" or agrees is None else agrees)[:-1]

    def result() -> HalvingResult:
        final = rounds[-1]
        best = best_mask(final.values, widths[final.masks])
        mask = int(final.masks[best])
        part = max((part for part, m in zip(path, which, strict=True) if m == mask), key=lambda part: part.high - part.low)
        middle, pairs = (part.low + part.high) / 2.0, pairs_run(plan[: len(rounds)])
        return HalvingResult(
            by, mask, middle, part.low, part.high, float(final.values[best]), tuple(rounds), pairs, len(masks) * len(order)
        )

    try:
        for finished in elimination(evaluate, widths, plan):
            rounds.append(finished)
    except Cancelled as stop:
        stop.partial = result() if rounds else None
        raise
    return result()


def elimination(
    evaluate: Callable[[np.ndarray, int, int], np.ndarray], widths: np.ndarray, plan: Sequence[tuple[int, int]]
) -> Iterator[Round]:
    """Run the rounds of a schedule.

    Args:
        evaluate: evaluate(masks, start, stop) returns the measure (m, stop - start) of masks (m,) on the examples from start
            to stop.
        widths: (M,), share of the alpha range in which each mask applies; of ties the wider mask advances.
        plan: result of `schedule`.

    Yields:
        Each round after it is finished.
    """
    alive, sums, before = np.arange(len(widths)), np.zeros(len(widths)), 0
    for (_, texts), (keep, _) in zip(plan, [*plan[1:], (1, 0)], strict=True):
        if texts > before:
            sums[alive] += evaluate(alive, before, texts).sum(1)
        yield Round(alive, texts, sums[alive] / texts, keep)
        order = np.lexsort([-widths[alive], -sums[alive]])  # remaining ties: first along the path
        alive, before = np.sort(alive[order[:keep]]), texts


def schedule(masks: int, texts: int, *, last: int = LAST, first: int = FIRST) -> list[tuple[int, int]]:
    """Plan the rounds: half of the masks, rounded up, and twice the examples in each.

    Args:
        masks: number of distinct masks.
        texts: number of examples.
        last: number of masks that are evaluated on all examples.
        first: minimum number of examples in a round.

    Returns:
        (masks, examples) of each round.
    """
    counts = [masks]
    while counts[-1] > last:
        counts.append(-(-counts[-1] // 2))
    rounds = len(counts)
    return [(count, min(texts, max(first, -(-texts // 2 ** (rounds - 1 - i))))) for i, count in enumerate(counts)]


def pairs_run(plan: Sequence[tuple[int, int]]) -> int:
    """Count the pairs of a mask and an example that some rounds evaluate.

    Args:
        plan: result of `schedule`, or its first rounds.

    Returns:
        The number of pairs, without the unpruned model.
    """
    before = [0, *(texts for _, texts in plan)]
    return sum(masks * (texts - start) for (masks, texts), start in zip(plan, before, strict=False))


def nested_order(classes, count: int, *, seed: int = 0) -> np.ndarray:
    """Shuffle examples so that every prefix is approximately stratified by class.

    Args:
        classes: (N,), label of each example; None for a plain shuffle.
        count: number of examples N.
        seed: of the shuffle.

    Returns:
        int (N,), indices of the examples.
    """
    shuffled = np.random.default_rng(seed).permutation(count)
    if classes is None:
        return shuffled
    numbers = np.unique([str(c) for c in classes], return_inverse=True)[1][shuffled]
    turn = pd.Series(numbers).groupby(numbers).cumcount().to_numpy()
    return shuffled[np.argsort((turn + 0.5) / np.bincount(numbers)[numbers], kind="stable")]


def _by(by: str | None, model: PrunableModel, labeled: bool) -> str:
    if not task_of(model).has_decisions:
        raise HeadPruneError(
            f"the quick search compares means over examples, which a correlation is not, so it is not available for "
            f"{task_of(model).title}; use alpha_accuracy"
        )
    tokens = task_of(model).by_token
    by = by or ("accuracy" if labeled else "agreement")
    if by == "agreement" and tokens and labeled:
        raise HeadPruneError("per-example agreement is not available for token prediction; use by='accuracy'")
    if by not in ("accuracy", "agreement") or (by == "accuracy" and not labeled):
        raise HeadPruneError(f"by must be 'agreement', or 'accuracy' if the examples have labels, got {by!r}")
    return by
