"""Parts of the page Alpha: the current mask and its constraints, and masks pinned for comparison.

The live grid itself is in `alpha_grid`.
"""
