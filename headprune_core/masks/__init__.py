"""From scores to pruning masks: criteria, rankings, constraints, the exact alpha path, and mask files.

Nothing here runs a model. Evaluating a mask belongs to `measure`.
"""
