"""Slow reference implementation of masks under constraints, with sorted units and exact fractions."""

from fractions import Fraction

import numpy as np


def reference_mask(
    scores, share, *, min_heads_per_layer=0, protect=None, remove=None, groups=None, uniform=False, parameters=None
):
    """Return the mask (R, H), or None if the constraints cannot be met together; `share` is the sparsity as a Fraction."""
    rows, heads = scores.shape
    units = {}
    for r in range(rows):
        for h in range(heads):
            units.setdefault((r, h if groups is None else int(groups[r][h])), []).append((r, h))
    by_hand, choice, kept = [], [], []
    for members in units.values():
        hand = any(remove is not None and remove[at] for at in members)
        stays = any(protect is not None and protect[at] for at in members)
        if hand and stays:
            return None
        total = 0.0
        for at in members:
            total += scores[at]
        (by_hand if hand else kept if stays else choice).append((total / len(members), members[0], members))
    cost = {at: Fraction(1 if parameters is None else int(parameters[at])) for at in np.ndindex(rows, heads)}
    mask = np.ones((rows, heads), bool)
    for _, _, members in by_hand:
        for at in members:
            mask[at] = False
    if (mask.sum(1) < min_heads_per_layer).any():
        return None
    for lane in [[r] for r in range(rows)] if uniform else [range(rows)]:
        size = heads * len(lane)
        budget = (
            share * sum(cost[r, h] for r in lane for h in range(heads)) if parameters is not None else round(share * size)
        )
        budget -= sum(cost[r, h] for r in lane for h in range(heads) if not mask[r, h])
        waiting, stopped = [unit for unit in kept if unit[1][0] in lane], False
        for unit in sorted((score, first, members) for score, first, members in choice if first[0] in lane):
            price = sum(cost[at] for at in unit[2])
            if mask[unit[1][0]].sum() - len(unit[2]) < min_heads_per_layer:
                waiting.append(unit)
            elif price > budget:
                stopped = True
                break
            else:
                budget -= price
                for at in unit[2]:
                    mask[at] = False
        if not stopped and any(sum(cost[at] for at in members) <= budget for _, _, members in waiting):
            return None
    return mask
