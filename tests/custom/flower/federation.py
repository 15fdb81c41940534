"""A Flower federation in this process: Flower's own strategy, apps and messages, no network."""

from typing import Any

import numpy as np
import pytest

_WHY = "the extra flower is not installed; see make test-flower"
_app: Any = pytest.importorskip("flwr.app", reason=_WHY)
_clientapp: Any = pytest.importorskip("flwr.clientapp", reason=_WHY)
_serverapp: Any = pytest.importorskip("flwr.serverapp", reason=_WHY)

Array, ArrayRecord = _app.Array, _app.ArrayRecord
ConfigRecord, MetricRecord, RecordDict = _app.ConfigRecord, _app.MetricRecord, _app.RecordDict
Context, Message = _app.Context, _app.Message
ClientApp, FedAvg, Grid = _clientapp.ClientApp, _serverapp.strategy.FedAvg, _serverapp.Grid

NODES = (11, 12)
STATE = {
    "fc.weight": np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3),
    "bn.running_var": np.ones(2, np.float32),
    "bn.num_batches_tracked": np.array(3, np.int64),
}


def as_record(state, *, numbered=False):
    arrays = {n: Array(np.asarray(v)) for n, v in state.items()}
    return ArrayRecord({str(i): v for i, v in enumerate(arrays.values())} if numbered else arrays)


def trained(state, node):
    """What a client makes of a model: another for each."""
    return {
        "fc.weight": state["fc.weight"] + np.float32(0.01 * node),
        "bn.running_var": state["bn.running_var"] * np.float32(1.1),
        "bn.num_batches_tracked": state["bn.num_batches_tracked"] + 2,
    }


class LocalGrid(Grid):
    """Hands messages to client apps, and keeps what was sent and what came back."""

    def __init__(self, apps):
        self.apps = apps
        self.contexts = {
            n: Context(7, n, {"partition-id": i}, RecordDict(), {}) for i, n in enumerate(apps)
        }
        self.replies = []

    def get_node_ids(self):
        return list(self.apps)

    def send_and_receive(self, messages, *, timeout=None):
        replies = []
        for message in messages:
            node = message.metadata.dst_node_id
            message.metadata.__dict__["_message_id"] = f"m{len(self.replies)}-{node}"
            reply = self.apps[node](message, self.contexts[node])
            replies.append(reply)
        self.replies += replies
        return replies

    def set_run(self, run_id):
        raise NotImplementedError

    @property
    def run(self):
        raise NotImplementedError

    def create_message(self, *args, **kwargs):
        raise NotImplementedError

    def push_messages(self, messages):
        raise NotImplementedError

    def pull_messages(self, message_ids):
        raise NotImplementedError


def client(mods=(), *, train=trained, beside=None, numbered=False):
    """A client app that trains as `trained` and says what ``beside`` adds."""
    app = ClientApp(mods=list(mods))

    @app.train()
    def fit(message, context):
        (key,) = message.content.array_records
        arrays = message.content.array_records[key]
        state = dict(zip(STATE, (a.numpy() for a in arrays.values()), strict=True))
        local = train(state, context.node_id)
        made = as_record(local, numbered=numbered)
        content = RecordDict(
            {"arrays": made, "metrics": MetricRecord({"num-examples": 4, "loss": 0.5})}
        )
        for name, record in (beside or {}).items():
            content[name] = record
        return Message(content, reply_to=message)

    @app.evaluate()
    def score(message, context):
        content = RecordDict({"metrics": MetricRecord({"num-examples": 4, "accuracy": 0.5})})
        for name, record in (beside or {}).items():
            content[name] = record
        return Message(content, reply_to=message)

    @app.query("own")
    @app.query()
    def ask(message, context):
        return Message(RecordDict({"all": as_record(STATE)}), reply_to=message)

    return app


HP = ConfigRecord({"n_images": 4, "n_steps": 2, "batch_size": 4, "local_epochs": 1, "lr": 0.01})
