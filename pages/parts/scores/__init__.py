"""Parts of the page Head scores: scoring options and the head inspector.

Scores themselves are computed by `headprune_core.scores`.
"""
