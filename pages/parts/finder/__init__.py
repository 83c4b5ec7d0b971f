"""Parts of the pages Head finder and Orthogonality: axes of the scatter plot, the finder, and the roles of the heads.

All of them read the table of heads and hand a choice to the selection that the pages share.
"""
