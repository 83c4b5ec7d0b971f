"""What all pages share: the session, the loaded workspace, background jobs, server caches, labels and small widgets.

A part that only one page uses does not belong here.
"""
