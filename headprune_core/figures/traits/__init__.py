"""Figures of what heads do: any two columns of the head table as a scatter, heads by role, and leave-one-out by role.

Every function is pure, and a `describe_` function beside it returns the text alternative.
"""
