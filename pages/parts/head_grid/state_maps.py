"""Maps of states: which heads a pruned model keeps, and where two masks differ."""

import numpy as np

from headprune_core.figures.roles import STATES

from .head_map import HeadMap, Mark


def kept_map(title: str, kept: np.ndarray, present: np.ndarray | None = None, *, description: str) -> HeadMap:
    """Return the map of kept and pruned heads.

    Args:
        title: Title of the map.
        kept: (R, H) bool, True = kept.
        present: (R, H) bool, True = the weights are still there; None if they are those of `kept`.
        description: Sentences that describe the map.
    """
    present = kept if present is None else present
    marks = (
        Mark("kept", kept, "", STATES["kept"]),
        Mark("zeroed (shared KV head)", present & ~kept, "◇", STATES["zeroed"]),
        Mark("pruned", ~present & ~kept, "×", STATES["pruned"]),
    )
    return HeadMap("state", title, marks=marks, description=description)


def difference_map(title: str, a: np.ndarray, b: np.ndarray, names: tuple[str, str], *, description: str) -> HeadMap:
    """Return the map of two masks.

    Args:
        title: Title of the map.
        a: (R, H) bool, True = kept by the first mask.
        b: (R, H) bool, True = kept by the second mask.
        names: Names of the two masks.
        description: Sentences that describe the map.
    """
    marks = (
        Mark("kept by both", a & b, "", STATES["kept"]),
        Mark(f"kept by {names[0]} only", a & ~b, "◀", STATES["first"]),
        Mark(f"kept by {names[1]} only", ~a & b, "▶", STATES["second"]),
        Mark("pruned by both", ~a & ~b, "×", STATES["pruned"]),
    )
    return HeadMap("state", title, marks=marks, description=description)
