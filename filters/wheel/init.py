"""medleak: what federated training leaks, and how to stop it.

Becomes ``medleak/__init__.py`` in the wheel, and only there. In the source tree ``medleak`` is a
namespace over three folders; were it one when installed, a job that ships
``custom/medleak/__init__.py`` would replace all of it, the site's filters included, wherever that
folder stands on the path: a package wins over a namespace (PEP 420). As a package it is found
first, since NVFlare puts a job's ``custom/`` last.
"""
