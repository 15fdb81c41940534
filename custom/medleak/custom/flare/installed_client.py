"""Training from the installed package: for sites that accept no code from a job."""

from pathlib import Path
from typing import ClassVar

from nvflare.app_common.executors.client_api_executor import ClientAPIExecutor
from nvflare.client.config import ExchangeFormat, TransferType

from medleak.custom.training import client


class InstalledClient(ClientAPIExecutor):
    """NVFlare's in-process executor with :mod:`medleak.custom.training.client` as its script.

    NVFlare finds scripts in the folder that the job ships, or by an absolute path, which differs
    from site to site. Its ``external_process`` mode would need neither, but there tensors pass by
    the site's filters as references that no filter can read: ours withhold every update.

    Args:
        task_script_args: See :mod:`medleak.custom.training.arguments`.
    """

    _always_serialize_args: ClassVar = ("task_script_args",)

    def __init__(self, task_script_args: str) -> None:
        """Take the script's arguments; the rest is what all our jobs use."""
        super().__init__(
            execution_mode="in_process",
            task_script_path=str(Path(client.__file__)),
            task_script_args=task_script_args,
            params_exchange_format=ExchangeFormat.PYTORCH,
            server_expected_format=ExchangeFormat.NUMPY,
            params_transfer_type=TransferType.DIFF,
        )
