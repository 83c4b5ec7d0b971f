"""Verdicts on curves of accuracy against sparsity: comparison of each method with random rankings, as a table and in words.

A method is called better (worse) than random if its area under the curve is above (below) the areas of all random rankings.
This is significant at the 5% level only with 19 rankings or more: with n of them the rank-based p-value is at most 1 / (n +
1). Metrics are in `curve_metrics`, paired tests in `paired_tests`, warnings about failing methods in `failure_signatures`.
"""

import numpy as np
import pandas as pd

from headprune_core.data.measures import format_difference, sentence_name
from headprune_core.masks.criteria import method_label

from .curve_metrics import PUBLISHED_STABILITY_RATIO, area, steepest_drop, summary
from .curves import main_measure
from .paired_tests import CHANGE, GAIN, format_p
from .random_baseline import MIN_RANDOM_MASKS, gain_text

VERDICTS = ["method", "area", "random_low", "random_high", "verdict", "n_random", "enough_random"]
MIN_RANDOM_RANKINGS = MIN_RANDOM_MASKS  # fewer random rankings cannot reach significance at the 5% level
_MIDDLE = 0.5  # sparsity at which a method is compared with the mean of the random rankings
_RANGE_PP = 2  # percentage points below the unpruned model, for the usable range of sparsities


def compare_with_random(curves: pd.DataFrame) -> pd.DataFrame:
    """Compare each method with random rankings by the area under its curve.

    Args:
        curves: frame of `sparsity_curves`.

    Returns:
        A frame with one row per method and the columns method; area (normalized AUC of the main measure); random_low and
        random_high (range of areas over the random rankings); verdict: "better than random", "no better than random" or
        "worse than random"; n_random: number of random rankings; enough_random: whether there are enough of them (19) for a
        "better" or "worse" to be significant at the 5% level. Empty without random curves of at least two sparsities.
    """
    measure = main_measure(curves)
    random = curves[curves.method == "random"]
    areas = [value for _, part in random.groupby("seed") if np.isfinite(value := area(part, measure))]
    if not areas:
        return pd.DataFrame(columns=VERDICTS)
    low, high, enough = min(areas), max(areas), len(areas) >= MIN_RANDOM_RANKINGS
    rows = []
    for method, part in curves[curves.method != "random"].groupby("method", sort=False):
        value = area(part, measure)
        if np.isnan(value):
            continue
        verdict = "better than" if value > high else "worse than" if value < low else "no better than"
        rows.append((method, value, low, high, f"{verdict} random", len(areas), enough))
    return pd.DataFrame(rows, columns=VERDICTS)


def verdict_text(verdict: str, n_random: int) -> str:
    """Return a verdict of `compare_with_random` in words that state whether it is significant.

    Args:
        verdict: a value of its column "verdict".
        n_random: number of random rankings.

    Returns:
        Lower-case text without a period, for example "better than random" or "above all 3 random rankings: too few to tell
        (at least 19 are needed)".
    """
    if verdict.startswith("no better"):
        return "not significantly better than random"
    if n_random >= MIN_RANDOM_RANKINGS:
        return verdict
    rankings = f"all {n_random} random rankings" if n_random > 1 else "the 1 random ranking"
    side = "above" if verdict.startswith("better") else "below"
    return f"{side} {rankings}: too few to tell (at least {MIN_RANDOM_RANKINGS} are needed)"


def describe_verdict(curves: pd.DataFrame) -> dict[str, str]:
    """Describe each method in plain sentences.

    Args:
        curves: frame of `sparsity_curves`.

    Returns:
        For each method except "random": its comparison with random rankings, the sparsity up to which it stays close to the
        unpruned model, and its steepest drop.
    """
    verdicts = compare_with_random(curves).set_index("method")
    usable = summary(curves).set_index("method")[f"within_{_RANGE_PP}"]
    texts = {}
    for method in curves.method[curves.method != "random"].unique():
        compared = method in verdicts.index
        first = _against_random(verdicts.loc[method], curves) if compared else "Not compared with random rankings."
        control = _inverse_control(verdicts.loc[method]) if compared and method.startswith("inverse_") else []
        texts[method] = " ".join([first, *control, _range_text(curves, method, usable[method])])
    return texts


def describe_stability(curves: pd.DataFrame) -> str:
    """Compare the stability of each method with that of HIS.

    Args:
        curves: frame of `sparsity_curves`.

    Returns:
        A sentence with each ratio and the published one; empty if HIS or all other methods are missing.
    """
    table = summary(curves).set_index("method").stability_ratio.drop(["his", "random"], errors="ignore").dropna()
    if table.empty:
        return ""
    ratios = ", ".join(f"{method_label(method)} {ratio:.2f}" for method, ratio in table.items())
    return (
        f"Stability (mean correlation with the unpruned model's logits) divided by that of HIS: {ratios}. The HIES paper "
        f"reports up to {PUBLISHED_STABILITY_RATIO}."
    )


def _against_random(row: pd.Series, curves: pd.DataFrame) -> str:
    text, name = verdict_text(row.verdict, row.n_random), sentence_name(main_measure(curves))
    few = not row.enough_random
    if row.verdict.startswith("no better"):
        rankings = f"the range of {row.n_random} random rankings" if row.n_random > 1 else "that of 1 random ranking"
        return (
            f"{text.capitalize()}: mean {name} {row.area:.3f}, not above {rankings} ({row.random_low:.3f} to "
            f"{row.random_high:.3f}).{_gain_text(row.name, curves)}"
        )
    values = f"{row.random_low:.3f} to {row.random_high:.3f}" if row.n_random > 1 else f"{row.random_low:.3f}"
    if few:
        return (
            f"{text[0].upper()}{text[1:]}. Mean {name} {row.area:.3f} vs. {values}; rank-based p ≤ 1/{row.n_random + 1}."
            f"{_gain_text(row.name, curves)}"
        )
    return (
        f"{text.capitalize()}: mean {name} {row.area:.3f} vs. {values} for {row.n_random} random rankings; rank-based "
        f"p ≤ 1/{row.n_random + 1}.{_gain_text(row.name, curves)}"
    )


def _gain_text(method: str, curves: pd.DataFrame) -> str:
    """Return the paired difference from the random rankings at the sparsity nearest to 50%; empty if it is unknown."""
    part = curves[(curves.method == method) & (curves.sparsity > 0)]
    part = part.dropna(subset=list(GAIN)) if set(GAIN) <= set(curves.columns) else part.iloc[:0]
    if part.empty:
        return ""
    row = part.loc[(part.sparsity - _MIDDLE).abs().idxmin()]
    text = gain_text(main_measure(curves), tuple(row[list(GAIN)]), int(row.examples))
    return f" At {row.sparsity:.0%} sparsity: {text}."


def _change_text(method: str, sparsity: float, curves: pd.DataFrame) -> str:
    """Return the paired difference from the unpruned model in parentheses; empty if it is unknown."""
    part = curves[(curves.method == method) & np.isclose(curves.sparsity, sparsity)]
    part = part.dropna(subset=list(CHANGE)) if set(CHANGE) <= set(curves.columns) else part.iloc[:0]
    if part.empty or sparsity == 0:
        return ""
    row = part.iloc[0]
    values = (format_difference(main_measure(curves), row[name]) for name in CHANGE[:3])
    difference, low, high = (value.removesuffix(" pp") if i else value for i, value in enumerate(values))
    test = f"{row.change_test}, {format_p(row.change_p)}, n = {row.examples:,}"
    return f" (there {difference}, 95% CI {low} to {high}; {test})"


def _inverse_control(row: pd.Series) -> list[str]:
    """Return whether an inverse control is worse than random, as expected; nothing if there are too few rankings to tell."""
    if row.verdict.startswith("no better"):
        return ["An inverse control is expected to be worse than random; this one is not significantly worse."]
    if not row.enough_random:
        return []
    if row.verdict.startswith("worse"):
        return ["As expected for an inverse control."]
    return ["The inverse control is better than random, so the criterion itself ranks heads in the wrong direction here."]


def _range_text(curves: pd.DataFrame, method: str, usable: float) -> str:
    """Return the usable range of sparsities and the steepest drop as one sentence."""
    measure, drop = main_measure(curves), steepest_drop(curves, method)
    parts, name = [], sentence_name(measure)
    if np.isfinite(usable):
        where = f"up to {usable:.0%} sparsity" if usable > 0 else "at no measured sparsity"
        near = format_difference(measure, _RANGE_PP / 100).lstrip("+").replace("2.0 pp", "2 pp")
        of = "that of the unpruned model" if measure == "correlation" else f"the unpruned model's {name}"
        parts.append(f"it stays within {near} of {of} {where}{_change_text(method, usable, curves)}")
    if drop is None:
        parts.append(f"its {name} never decreases")
    else:
        overlap = "" if drop.intervals_apart else "; the 95% CIs at its ends overlap"
        parts.append(
            f"its steepest drop per head is between {drop.start:.0%} and {drop.end:.0%} sparsity ({drop.regime}): "
            f"{format_difference(measure, drop.fall).lstrip('+')}{overlap}"
        )
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}."
