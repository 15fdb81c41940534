"""What NVFlare's homomorphic encryption (CKKS by TenSEAL) lacks for our jobs.

Its keys come with the startup kits of a provisioned federation (``nvflare.lighter``'s HEBuilder,
``nvflare poc prepare --he``); the simulator has no kits. :class:`SimulationContexts` makes keys for
a simulation, and only there: everything runs on one machine, so that they protect nothing.
"""

import time
from pathlib import Path
from typing import Any

import numpy as np
from nvflare.apis.dxo import from_shareable
from nvflare.apis.event_type import EventType
from nvflare.apis.filter import Filter
from nvflare.apis.fl_component import FLComponent
from nvflare.apis.fl_constant import FLContextKey
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable
from nvflare.fuel.sec.security_content_service import SecurityContentService

from medleak.custom.atomic import write_atomic
from medleak.custom.training.initial import build_job_network

SERVER_KEYS, CLIENT_KEYS = "server_context.tenseal", "client_context.tenseal"
_KITS = ("fed_server.json", "fed_client.json")
# As NVFlare's HEBuilder: 128 bits of security (homomorphicencryption.org, 2018, table 1).
_MODULUS_DEGREE, _MODULI, _SCALE = 8192, [60, 40, 40], 2.0**40
_PATIENCE = 60.0  # seconds that a client waits for the server's start


class SimulationContexts(FLComponent):
    """Make the keys of a simulated federation; does nothing where a startup kit is.

    **Unsafe outside of a simulation**: server and sites share one folder, secret key included.
    First of the server's components, and one of each site's.

    Args:
        on_site: Copy the keys that the server makes.
    """

    def __init__(self, on_site: bool = False) -> None:
        """Take the side."""
        super().__init__()
        self.on_site = on_site

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """Server, at its start: make keys. Site, before its start: copy them."""
        start = EventType.ABOUT_TO_START_RUN if self.on_site else EventType.START_RUN
        if event_type != start:
            return
        folder = Path(SecurityContentService.content_folder or ".")
        if any((folder / kit).exists() for kit in _KITS) or fl_ctx.get_prop(
            FLContextKey.SECURE_MODE, False
        ):
            return
        if self.on_site:
            _copy(folder.parent.parent / folder.name / CLIENT_KEYS, folder / CLIENT_KEYS)
        elif not (folder / CLIENT_KEYS).exists():
            self.log_warning(
                fl_ctx,
                "UNSAFE: keys made for this simulation lie beside its server. A real federation "
                "gets them by provisioning (HEBuilder).",
            )
            _make(folder)


class RestoreShapes(Filter):
    """Give decrypted weights, flat lists of numbers, the shapes of the job's network again.

    Args:
        model_path, model_args: As :func:`medleak.custom.training.initial.build_job_network`.
    """

    def __init__(self, model_path: str, model_args: dict[str, Any]) -> None:
        """Take the network."""
        super().__init__()
        self.model_path, self.model_args = model_path, model_args

    def process(self, shareable: Shareable, fl_ctx: FLContext) -> Shareable:
        """Reshape what came from the server; a model in clear passes as it is."""
        dxo = from_shareable(shareable)
        if all(isinstance(v, np.ndarray) and v.ndim != 1 for v in dxo.data.values()):
            return shareable
        network = build_job_network(self.model_path, self.model_args)
        shapes = {n: (v.shape, v.numpy().dtype) for n, v in network.state_dict().items()}
        dxo.data = {
            name: np.asarray(value).astype(shapes[name][1]).reshape(shapes[name][0])
            for name, value in dxo.data.items()
        }
        return dxo.update_shareable(shareable)


def _make(folder: Path) -> None:
    import tenseal

    context = tenseal.context(
        tenseal.SCHEME_TYPE.CKKS,
        poly_modulus_degree=_MODULUS_DEGREE,
        coeff_mod_bit_sizes=_MODULI,
        encryption_type=tenseal.ENCRYPTION_TYPE.SYMMETRIC,
    )
    context.generate_relin_keys()
    context.global_scale = _SCALE
    for name, secret in ((SERVER_KEYS, False), (CLIENT_KEYS, True)):  # the sites' last: see _copy
        data = context.serialize(
            save_public_key=secret,
            save_secret_key=secret,
            save_galois_keys=False,
            save_relin_keys=True,
        )
        write_atomic(folder / name, data)


def _copy(source: Path, target: Path) -> None:
    end = time.monotonic() + _PATIENCE
    while not source.exists() and time.monotonic() < end:
        time.sleep(0.2)
    if source.exists() and not target.exists():
        write_atomic(target, source.read_bytes())
