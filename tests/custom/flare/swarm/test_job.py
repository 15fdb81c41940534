"""Why filters are refused for a swarm: what NVFlare does with what a site sends another."""

from types import SimpleNamespace

from nvflare.apis.client import Client
from nvflare.apis.controller_spec import Task
from nvflare.apis.filter import Filter
from nvflare.apis.fl_context import FLContextManager
from nvflare.apis.impl.task_controller import TaskController
from nvflare.apis.shareable import Shareable, make_reply

TASK = "swarm_report_learn_result"


class Protects(Filter):
    """Puts something else in the place of what leaves; counts its calls."""

    calls = 0

    def process(self, shareable, fl_ctx):
        self.calls += 1
        return Shareable({"weights": "protected"})


def test_what_a_filter_of_a_swarms_own_task_makes_is_not_what_is_sent():
    """NVFlare 2.9 calls it and sends what was there before; should this fail, look again."""
    sent = []
    engine = SimpleNamespace(
        all_clients=[Client("site-2", "token")],
        validate_targets=lambda names: (names, []),
        send_aux_request=lambda request, targets, **_: (
            sent.append(dict(request)) or {name: make_reply("OK") for name in targets}
        ),
        fire_event=lambda *_: None,
    )
    context = FLContextManager(engine=engine, identity_name="site-1", job_id="j").new_context()
    controller, own = TaskController(), Protects()
    controller.task_data_filters = {f"{TASK}/out": [own]}
    controller.task_result_filters = {}
    task = Task(name=TASK, data=Shareable({"weights": "bare"}), timeout=5)
    controller.broadcast_and_wait(task=task, targets=["site-2"], min_responses=1, fl_ctx=context)
    assert own.calls == 1
    assert sent[0]["weights"] == "bare"
