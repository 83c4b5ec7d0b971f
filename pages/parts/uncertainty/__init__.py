"""Parts of the page Uncertainty: cached bootstrap results and the leave-one-out run.

The statistics are those of `headprune_core`.
"""
