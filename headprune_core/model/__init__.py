"""What a model is and how it runs: loading, the layout of its heads, hooks, caches and the cost of a forward pass.

Nothing here knows datasets, scores or masks beyond the head gates of one forward pass. Saving a pruned model belongs here;
describing it belongs to `report`.
"""
