"""medleak: what federated training leaks, and how to stop it.

Installed as ``medleak/__init__.py``. In the source tree ``medleak`` is a namespace over three
folders; were it one when installed, a job that ships ``custom/medleak/__init__.py`` would replace
all of it, the site's filters included, wherever that folder stands on the path: a package wins over
a namespace (PEP 420). This package is found first, since NVFlare puts a job's ``custom/`` last, and
its own portions come first too.
"""

from pkgutil import extend_path

__path__ = extend_path(__path__, __name__)  # an editable install has its portions elsewhere
