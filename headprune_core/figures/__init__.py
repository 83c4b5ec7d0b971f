"""Plotly figures and their text alternatives, one topic per file.

A figure is a pure function of a result. Nothing here runs a model or computes a statistic that the result does not hold.
"""
