"""The calls that NVFlare's server makes to its recorder, for several tests."""

from types import SimpleNamespace

import numpy as np
import pytest
from nvflare.apis.dxo import DXO, DataKind
from nvflare.apis.event_type import EventType
from nvflare.apis.fl_constant import FLContextKey, ReservedKey
from nvflare.apis.fl_context import FLContext, FLContextManager
from nvflare.app_common.app_constant import AppConstants

from medleak.custom.flare.recorder import UpdateRecorder

HP = {"n_images": 4, "n_steps": 1, "batch_size": 4, "local_epochs": 1, "lr": 0.01}
MODEL = {
    "w": np.arange(4, dtype=np.float32),
    "bn.num_batches_tracked": np.array(1, np.int64),
}
UPDATE = {"w": np.full(4, 0.5, np.float32), "bn.num_batches_tracked": np.float64(1)}


class Server:
    """The calls that NVFlare's server makes to the recorder, in its order."""

    def __init__(self, run_dir, **kwargs):
        self.run_dir = run_dir
        declared = {
            "model_path": "medleak.custom.networks.resnet18",
            "model_args": {"num_classes": 2},
            "task": {"num_classes": 2},
            "input": {"spatial_size": [8, 8], "channels": 1},
        }
        self.recorder = UpdateRecorder(**declared | kwargs)
        self.fire(EventType.START_RUN)

    def context(self, site="site-1", task="train", **props) -> FLContext:
        engine = SimpleNamespace(
            get_workspace=lambda: SimpleNamespace(get_run_dir=lambda job_id: str(self.run_dir)),
            fire_event=lambda event, context: None,
            get_clients=lambda: [SimpleNamespace(name=f"site-{k}") for k in (1, 2)],
        )
        context = FLContextManager(engine=engine, identity_name="server", job_id="j").new_context()
        peer = FLContext()
        peer.set_prop(ReservedKey.IDENTITY_NAME, site, private=False, sticky=False)
        context.set_peer_context(peer)
        for key, value in {FLContextKey.TASK_NAME: task, **props}.items():
            context.set_prop(key, value, private=True, sticky=False)
        return context

    def fire(self, event, **props):
        self.recorder.handle_event(event, self.context(**props))

    def send(self, round=0, model=None, task="train", site="site-1", rounds=None):
        data = DXO(DataKind.WEIGHTS, data=model or MODEL).to_shareable()
        data.set_header(AppConstants.NUM_ROUNDS, rounds)
        data.set_header(AppConstants.CURRENT_ROUND, round)
        props = {FLContextKey.TASK_DATA: data}
        self.fire(EventType.AFTER_TASK_DATA_FILTER, site=site, task=task, **props)

    def receive(self, site="site-1", round=0, update=None, kind=DataKind.WEIGHT_DIFF, **meta):
        dxo = DXO(kind, data=UPDATE if update is None else update, meta={"hp": HP, **meta})
        reply = dxo.to_shareable()
        reply.add_cookie(AppConstants.CONTRIBUTION_ROUND, round)
        return self.recorder.process(reply, self.context(site))

    @property
    def records(self):
        return self.run_dir / "records"


@pytest.fixture
def server(tmp_path):
    return Server(tmp_path)
