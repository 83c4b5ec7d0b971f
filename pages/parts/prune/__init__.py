"""Parts of the page Prune & export: the mask to prune, the run, its result sections and exports.

Removing heads and writing files is done by `headprune_core.prune` and `headprune_core.report`.
"""
