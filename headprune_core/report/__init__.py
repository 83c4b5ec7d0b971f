"""Documentation of a pruned model: its record, model card, HTML report and export bundle.

All of them are derived from one `PruningRecord`. Measuring belongs to `measure` and `prune`.
"""
