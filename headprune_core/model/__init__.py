"""Model loading, head layout, attention hooks, the forward-pass cache and the cost of a forward pass.

Nothing here knows datasets, scores or masks beyond the head gates of one forward pass. Saving a pruned model belongs here;
describing it belongs to `report`.
"""
