"""Parts of the page Greedy-Gnorm: its background runs and their results.

The method itself is in `headprune_core.measure`.
"""
