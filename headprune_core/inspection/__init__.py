"""What heads do: traits of their attention, roles with evidence, and the effect of single heads.

Import the public names from `headprune_core`.
"""
