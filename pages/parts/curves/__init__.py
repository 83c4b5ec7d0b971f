"""Parts of the page Accuracy vs. sparsity: the form, the run, tables, exports and rankings from elsewhere.

The curves are measured by `headprune_core.measure`.
"""
