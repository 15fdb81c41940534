"""Rehearsal: one step of a model that was sent, on the site's own images, before it is trained.

What the checks of weights alone cannot know: which of the site's images each row would tell.
"""
