"""Cross-validated selection: the value of a selected mask on examples that were not used to select it.

The value of the best of many masks on the examples used to select it is optimistically biased. Here the examples are split
into K folds; for every fold the best mask on the other folds is selected and evaluated on the fold (Stone, JRSS B 36,
111-147, 1974).
"""

from collections.abc import Callable

import numpy as np

from headprune_core.errors import HeadPruneError

Choose = Callable[[np.ndarray], int]


def stratified_folds(classes, count: int, *, seed: int = 0) -> np.ndarray:
    """Assign examples to folds, stratified by class.

    Args:
        classes: (N,), class of each example.
        count: number of folds.
        seed: of the shuffle.

    Returns:
        int (N,), the fold of each example, from 0. Folds have equal sizes and equal class counts, both to within one.

    Raises:
        HeadPruneError: if there are fewer than 2 folds or more folds than examples.
    """
    classes = np.asarray(classes)
    if not 2 <= count <= len(classes):
        raise HeadPruneError(f"folds must be between 2 and {len(classes)} (the number of examples), got {count}")
    shuffled = np.random.default_rng(seed).permutation(len(classes))
    by_class = shuffled[np.argsort(classes[shuffled], kind="stable")]
    folds = np.empty(len(classes), int)
    folds[by_class] = np.arange(len(classes)) % count  # one cycle across classes, so that sizes differ by at most one
    return folds


def chosen_by_fold(evaluate: Callable[[np.ndarray], np.ndarray], folds: np.ndarray, choose: Choose) -> np.ndarray:
    """Select a mask for every example from the other folds, by a measure that need not be a mean over examples.

    Args:
        evaluate: returns the selection measure (M,) of the masks on the examples of a bool (N,).
        folds: int (N,), the fold of each example.
        choose: selects the index of a mask from the measures (M,).

    Returns:
        int (N,), index of the mask selected without the fold of the example.
    """
    chosen = np.empty(len(folds), int)
    for fold in np.unique(folds):
        inside = folds == fold
        chosen[inside] = choose(evaluate(~inside))
    return chosen


def chosen_without(values: np.ndarray, folds: np.ndarray, choose: Choose) -> np.ndarray:
    """Select a mask for every example from the other folds.

    Args:
        values: (M, N), the selection measure of each mask on each example.
        folds: int (N,), the fold of each example.
        choose: selects the index of a mask from means (M,) over examples.

    Returns:
        int (N,), index of the mask selected without the fold of the example.
    """
    return chosen_by_fold(lambda others: values[:, others].mean(1), folds, choose)
