"""Heads as things to look at: the selection that all pages share, their traits, and the panel that inspects them.

No maps and no masks: pages draw those, and hand a click to `selection`.
"""
