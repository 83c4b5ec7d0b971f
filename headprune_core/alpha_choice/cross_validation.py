"""The accuracy of a choice, from texts that did not take part in it.

The best of many masks on some texts is flattered by these texts. So the texts are cut into K folds; for every fold the
best mask on the other folds is chosen, and only its answers on the fold count. Pooled over the folds, every text is answered
once, under a mask that was chosen without it (Stone, JRSS B 36, 111-147, 1974).
"""

from collections.abc import Callable

import numpy as np

from headprune_core.errors import HeadPruneError

Choose = Callable[[np.ndarray], int]


def stratified_folds(classes, count: int, *, seed: int = 0) -> np.ndarray:
    """(N,) the fold, from 0, of every text: each class is spread evenly, and folds are of equal size, both to within one."""
    classes = np.asarray(classes)
    if not 2 <= count <= len(classes):
        raise HeadPruneError(f"{count} folds were asked for; expected 2 to {len(classes)}, the number of texts")
    shuffled = np.random.default_rng(seed).permutation(len(classes))
    by_class = shuffled[np.argsort(classes[shuffled], kind="stable")]
    folds = np.empty(len(classes), int)
    folds[by_class] = np.arange(len(classes)) % count  # dealt out in turn, class after class without starting anew
    return folds


def chosen_without(values: np.ndarray, folds: np.ndarray, choose: Choose) -> np.ndarray:
    """(N,) for every text the mask that is chosen without its fold.

    values (M, N): what each mask gives on each text. choose: from the means (M,) over the texts of the other folds to the
    number of a mask.
    """
    chosen = np.empty(values.shape[1], int)
    for fold in np.unique(folds):
        inside = folds == fold
        chosen[inside] = choose(values[:, ~inside].mean(1))
    return chosen
