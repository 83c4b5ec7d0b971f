"""Structural pruning: removing heads from the weights, verification, size, latency, recovery fine-tuning and ONNX export.

Choosing which heads to remove belongs to `masks`. Describing the pruned model belongs to `report`.
"""
