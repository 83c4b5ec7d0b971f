"""The best mask of an alpha path for a fraction of the work: successive halving.

All distinct masks answer a few texts; the better half goes on to more texts; and so on, until a few masks are left, which
are measured on all texts (Karnin, Koren and Somekh 2013; Jamieson and Talwalkar 2016). Each round costs about as much as
another. The texts of a round hold those of the round before, so a text is never answered twice by one mask. Of equal masks
the one that holds over the larger share of alpha goes on. The cost is counted in pairs of a mask and a text; the unpruned
model, which is run beside any search, is left out.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import datasets
import numpy as np
import pandas as pd

from headprune_core.errors import Cancelled, HeadPruneError
from headprune_core.masks.alpha_path import AlphaInterval, distinct_masks
from headprune_core.measure.evaluation import evaluate_masks
from headprune_core.model.prunable_model import PrunableModel
from headprune_core.result_cache import ResultCache

from .alpha_accuracy import AlphaAccuracy, per_text
from .recommendation import best_mask

LAST = 4
FIRST = 32


@dataclass(frozen=True, eq=False)
class Round:
    """masks (m,): the numbers of those that took part; texts: how many they have answered by its end; values (m,): the
    measure on these; kept: how many went on (in the last round the one chosen)."""

    masks: np.ndarray
    texts: int
    values: np.ndarray
    kept: int


@dataclass(frozen=True, eq=False)
class HalvingResult:
    """What a search found.

    by: "accuracy" or "agreement". mask: the number of the one chosen, in the order in which masks first come along the path.
    alpha: the middle of (low, high), its widest interval. value: the measure under it on the texts of the last round. pairs:
    masks times texts that were run; all_pairs: of the full search.
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
        """The cost, as a share of the full search's."""
        return self.pairs / self.all_pairs

    @property
    def frame(self) -> pd.DataFrame:
        """One line per round: round (from 1), masks, texts, kept, best and worst value."""
        lines = [(i, len(r.masks), r.texts, r.kept, r.values.max(), r.values.min()) for i, r in enumerate(self.rounds, 1)]
        return pd.DataFrame(lines, columns=["round", "masks", "texts", "kept", "best", "worst"])

    def gap(self, found: AlphaAccuracy) -> float:
        """How far the chosen mask stays behind the best of the full search on the same path, 0 where it is as good."""
        values = getattr(found, self.by)[found.first]
        if self.mask >= len(values):
            raise HeadPruneError(f"the full search has {len(values)} masks; expected that of the same path")
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
    """Search `path` (from `alpha_path`) for the best mask on `examples`, which the scores have not seen.

    by: "accuracy" or "agreement" (None: accuracy where there are labels). last: as soon as no more masks are left they are
    measured on all texts. first: the fewest texts of a round. seed: of the order of the texts. When `progress` raises
    Cancelled, the exception carries what the finished rounds found as `.partial`, None before the first. Raises
    HeadPruneError for an empty path, an unknown `by`, and agreement where tokens are predicted.
    """
    path = tuple(path)
    if not path or last < 1 or first < 1:
        raise HeadPruneError(f"{len(path)} intervals, last {last} and first {first} were given; expected at least 1 of each")
    by = _by(by, model, "label" in examples.column_names)
    masks, which = distinct_masks(path)
    widths = np.bincount(which, [part.high - part.low for part in path], len(masks))
    order = nested_order(examples["label"] if "label" in examples.column_names else None, len(examples), seed=seed)
    plan = schedule(len(masks), len(order), last=last, first=first)
    total, whole = pairs_run(plan), np.ones((1, *masks.shape[1:]), bool)
    rounds: list[Round] = []

    def ask(alive: np.ndarray, start: int, stop: int) -> np.ndarray:
        done = pairs_run(plan[: len(rounds)])
        new, note = len(alive) * (stop - start), f"Round {len(rounds) + 1} of {len(plan)}: {len(alive)} masks"

        def report(at: int, of: int, _: str) -> None:
            if progress is not None:
                progress(done + new * at // of, total, note)

        options = {"batch_size": batch_size, "dtype": dtype, "cache": cache, "progress": report}
        asked = np.concatenate([masks[alive], whole])
        right, agrees, _ = per_text(evaluate_masks(model, examples.select(order[start:stop]), asked, **options))
        return (right if by == "accuracy" else agrees)[:-1]

    def found() -> HalvingResult:
        won = rounds[-1]
        best = best_mask(won.values, widths[won.masks])
        mask = int(won.masks[best])
        part = max((part for part, m in zip(path, which, strict=True) if m == mask), key=lambda part: part.high - part.low)
        middle, pairs = (part.low + part.high) / 2.0, pairs_run(plan[: len(rounds)])
        return HalvingResult(
            by, mask, middle, part.low, part.high, float(won.values[best]), tuple(rounds), pairs, len(masks) * len(order)
        )

    try:
        for one in elimination(ask, widths, plan):
            rounds.append(one)
    except Cancelled as stop:
        stop.partial = found() if rounds else None
        raise
    return found()


def elimination(
    ask: Callable[[np.ndarray, int, int], np.ndarray], widths: np.ndarray, plan: Sequence[tuple[int, int]]
) -> Iterator[Round]:
    """The rounds of a `schedule`, one after another.

    ask(masks, start, stop): what each of these masks (m,) gives on the texts from start to stop, (m, stop - start). widths
    (M,): of equal masks the wider goes on.
    """
    alive, sums, before = np.arange(len(widths)), np.zeros(len(widths)), 0
    for (_, texts), (keep, _) in zip(plan, [*plan[1:], (1, 0)], strict=True):
        if texts > before:
            sums[alive] += ask(alive, before, texts).sum(1)
        yield Round(alive, texts, sums[alive] / texts, keep)
        order = np.lexsort([-widths[alive], -sums[alive]])  # of equals in both the first along the path
        alive, before = np.sort(alive[order[:keep]]), texts


def schedule(masks: int, texts: int, *, last: int = LAST, first: int = FIRST) -> list[tuple[int, int]]:
    """(masks, texts) of each round: half of the masks, rounded up, and twice the texts, up to all of them."""
    counts = [masks]
    while counts[-1] > last:
        counts.append(-(-counts[-1] // 2))
    rounds = len(counts)
    return [(count, min(texts, max(first, -(-texts // 2 ** (rounds - 1 - i))))) for i, count in enumerate(counts)]


def pairs_run(plan: Sequence[tuple[int, int]]) -> int:
    """How many pairs of a mask and a text these rounds run."""
    before = [0, *(texts for _, texts in plan)]
    return sum(masks * (texts - start) for (masks, texts), start in zip(plan, before, strict=False))


def nested_order(classes, count: int, *, seed: int = 0) -> np.ndarray:
    """A shuffle of `count` texts whose every beginning holds each class in nearly its share of the whole."""
    shuffled = np.random.default_rng(seed).permutation(count)
    if classes is None:
        return shuffled
    numbers = np.unique([str(c) for c in classes], return_inverse=True)[1][shuffled]
    turn = pd.Series(numbers).groupby(numbers).cumcount().to_numpy()
    return shuffled[np.argsort((turn + 0.5) / np.bincount(numbers)[numbers], kind="stable")]


def _by(by: str | None, model: PrunableModel, labelled: bool) -> str:
    tokens = model.task != "classification"
    by = by or ("accuracy" if labelled or tokens else "agreement")
    if by == "agreement" and tokens:
        raise HeadPruneError("agreement is not known text by text where tokens are predicted; expected by='accuracy'")
    if by not in ("accuracy", "agreement") or (by == "accuracy" and not labelled and not tokens):
        raise HeadPruneError(f"the search is to be by {by!r}; expected 'agreement', or 'accuracy' where there are labels")
    return by
