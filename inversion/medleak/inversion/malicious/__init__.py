"""Attacks of a server that changes the model it sends. For simulated federations alone.

They exist to measure what such a server reads, and whether :mod:`medleak.filters.sentinel` sees it;
no job and no command uses them. An attack is a frozen record with two verbs: ``tamper(model, …)``
gives the model that the server sends, ``read(update, …)`` the images that it takes from what comes
back. Images are gray, [K, 1, H, W] in [0, 1]; what the server knows of them is a
:class:`medleak.inversion.malicious.view.View`.
"""
