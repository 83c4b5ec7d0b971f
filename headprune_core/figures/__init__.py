"""Plotly figures and the sentence that says what each one shows, one topic per file.

A figure is a pure function of a result. Nothing here runs a model or computes a statistic that the result does not hold.
"""
