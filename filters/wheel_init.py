"""medleak: what federated training leaks, and how to stop it.

Becomes ``medleak/__init__.py`` in the wheel, and only there. In the source tree ``medleak`` is a
namespace over three folders; installed that way, a job that ships ``custom/medleak/__init__.py``
would replace all of it, filters included, wherever its folder stands on the path (PEP 420: a
package wins over a namespace). As a package it is found first, because NVFlare puts a job's
``custom/`` last.
"""
