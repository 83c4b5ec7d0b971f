"""Examples: reading tables and datasets, tokenizing them, and packing them into batches.

Models are taken as they are. What is computed on a batch belongs to `scores` and `measure`.
"""
