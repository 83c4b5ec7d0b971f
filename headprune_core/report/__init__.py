"""What is told about a pruned model: its record, model card, HTML report and zip.

Everything is derived from one `PruningRecord`. Measuring belongs to `measure` and `prune`.
"""
