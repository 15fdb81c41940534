"""NVFlare's FedOpt on any network that a job can name."""

from typing import Any, ClassVar

from nvflare.apis.event_type import EventType
from nvflare.apis.fl_context import FLContext
from nvflare.app_opt.pt.fedopt import PTFedOptModelShareableGenerator

from medleak.custom.training.initial import initial_network

OPTIMIZERS = {
    "sgd": "torch.optim.SGD",
    "adam": "torch.optim.Adam",
    "adagrad": "torch.optim.Adagrad",
}


class FedOpt(PTFedOptModelShareableGenerator):
    """Update the global model by an optimiser whose gradient is minus the mean of the updates.

    Batch-norm statistics are averaged. NVFlare's class wants the network as a component, which its
    job API can export for classes only; this one builds it itself, from the weights that the
    federation starts from.

    Args:
        model_path, model_args, weights, seed: As
            :func:`medleak.custom.training.initial.initial_network`; the same as the persistor's.
        server_optimizer: ``sgd``, ``adam`` or ``adagrad``.
        server_args: Its arguments; ``{"lr": 1.0}`` with ``sgd`` is FedAvg.

    Source: Reddi et al. 2020, arXiv:2003.00295v5.
    """

    _always_serialize_args: ClassVar = ("weights", "seed", "server_optimizer", "server_args")

    def __init__(
        self,
        model_path: str,
        model_args: dict[str, Any],
        weights: str = "auto",
        seed: int = 0,
        server_optimizer: str = "sgd",
        server_args: dict[str, Any] | None = None,
    ) -> None:
        """Take the plain values that the job's JSON can hold."""
        if server_optimizer not in OPTIMIZERS:
            raise ValueError(
                f"server_optimizer must be one of {', '.join(OPTIMIZERS)}, got "
                f"{server_optimizer!r}."
            )
        self.model_path, self.model_args = model_path, model_args
        self.weights, self.seed = weights, seed
        self.server_optimizer, self.server_args = server_optimizer, dict(server_args or {})
        path = OPTIMIZERS[server_optimizer]
        super().__init__({"path": path, "args": dict(self.server_args), "config_type": "dict"})

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """Build the network when the run starts, then do as NVFlare does."""
        if event_type == EventType.START_RUN:
            self.source_model = initial_network(
                self.model_path, self.model_args, self.weights, self.seed
            )
        super().handle_event(event_type, fl_ctx)
