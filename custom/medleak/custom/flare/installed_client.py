"""Training from the installed package: for sites that accept no code from a job."""

import os
from pathlib import Path
from typing import ClassVar

from nvflare.apis.event_type import EventType
from nvflare.apis.fl_constant import FLContextKey
from nvflare.apis.fl_context import FLContext
from nvflare.apis.fl_exception import UnsafeJobError
from nvflare.apis.shareable import Shareable
from nvflare.apis.signal import Signal
from nvflare.app_common.executors.client_api_executor import ClientAPIExecutor
from nvflare.client.config import ExchangeFormat, TransferType

from medleak.custom.training import client
from medleak.filters.adapters.workflow import check_workflow
from medleak.filters.allowed import NETWORKS_VARIABLE, site_networks


class InstalledClient(ClientAPIExecutor):
    """NVFlare's in-process executor with :mod:`medleak.custom.training.client` as its script.

    NVFlare finds scripts in the folder that the job ships, or by an absolute path, which differs
    from site to site. Its ``external_process`` mode would need neither, but there tensors pass by
    the site's filters as references that no filter can read: ours withhold every update.

    It trains only for a task that NVFlare's client runner has handed out, whose result the site's
    filters will see, and only in a job without an executor that is known to send past them: a
    swarm's controller, say, would call it and send what it returns to another site. The job's
    network must be one of ours or one in the site's ``local/medleak.json``.

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

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """Take the site's networks before the script can start."""
        if event_type == EventType.START_RUN:
            try:
                self._allow_networks(fl_ctx)
            except Exception as e:
                self.system_panic(f"The site's networks cannot be read: {e}", fl_ctx)
                return
        super().handle_event(event_type, fl_ctx)

    def execute(
        self, task_name: str, shareable: Shareable, fl_ctx: FLContext, abort_signal: Signal
    ) -> Shareable:
        """Train, or raise ``UnsafeJobError`` if the result could leave past the site's filters."""
        try:
            _check_caller(task_name, fl_ctx)
            # A site may let code in, or send its logs: what more it forbids, its policy says.
            check_workflow(fl_ctx, allow_code=True, executors_only=True)
        except Exception as e:
            self.log_error(fl_ctx, f"nothing is trained: {e}", fire_event=False)
            raise UnsafeJobError(f"InstalledClient does not train in this job: {e}") from e
        return super().execute(task_name, shareable, fl_ctx, abort_signal)

    def _allow_networks(self, fl_ctx: FLContext) -> None:
        workspace = fl_ctx.get_prop(FLContextKey.WORKSPACE_OBJECT)
        if workspace is None:
            engine = fl_ctx.get_engine()
            workspace = None if engine is None else engine.get_workspace()
        if workspace is None:
            raise RuntimeError("the site's folder is not known")
        local = Path(workspace.get_site_config_dir())
        named = [n for n in os.environ.get(NETWORKS_VARIABLE, "").split(":") if n]
        os.environ[NETWORKS_VARIABLE] = ":".join(dict.fromkeys([*named, *site_networks(local)]))


def _check_caller(task_name: str, fl_ctx: FLContext) -> None:
    """Raise unless NVFlare's client runner is at this very task."""
    runner = fl_ctx.get_prop(FLContextKey.RUNNER)
    task_id = fl_ctx.get_prop(FLContextKey.TASK_ID)
    running = getattr(runner, "running_tasks", {}).get(task_id)
    if running is None or running.name != task_name:
        raise ValueError(
            f"{task_name!r} was not handed out as a task but called by another part of the job "
            "(a peer-to-peer workflow, say), which would send the result past the site's filters."
        )
