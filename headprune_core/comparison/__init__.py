"""Runs side by side: how far scores of two models, datasets, seeds or scoring options agree, and which heads moved.

Comparisons read stored results and run no model. Comparisons of masks on examples belong to `measure`.
"""
