"""Flower: a mod that protects a client's updates, and a recorder for a server's strategy.

Needs the extra ``flower``. Filters, ledger and record are those of NVFlare's jobs::

    from medleak.custom.flower import Protect, record_updates

    app = ClientApp(mods=[Protect("percentile_gaussian:sigma0=10", root="/var/lib/medleak")])
    strategy = record_updates(FedAvg(), "records", network="mylab.networks.net")
"""

from medleak.custom.flower.client import Protect
from medleak.custom.flower.server import record_updates

__all__ = ["Protect", "record_updates"]
