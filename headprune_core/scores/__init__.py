"""Head scores: importance (HIS), attention entropy (AE), HIES and Gnorm, with bootstrap intervals and correlations.

A score is one number per head. Turning scores into a pruning mask belongs to `masks`.
"""
