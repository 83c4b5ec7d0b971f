"""Parts of the page Choice of alpha: the background runs that evaluate masks along alpha.

The recommendation is made by `headprune_core.alpha_choice`.
"""
