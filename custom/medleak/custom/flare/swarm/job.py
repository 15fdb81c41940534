"""The recorder of a swarm in a job that nobody here wrote: a component of each site."""

from collections.abc import Iterator, Mapping
from typing import Any

from medleak.custom.flare.foreign_job import AttachError

RECORDER_ID = "medleak_recorder"
"""Of the component at the sites."""

_RECORDER = "medleak.custom.recorder.SwarmRecorder"


def add_recorder(client: dict[str, Any], known: Mapping[str, Any]) -> Iterator[str]:
    """Put the recorder into a client's configuration; say what was found."""
    component = {"id": RECORDER_ID, "path": _RECORDER, "args": dict(known)}
    client["components"] = [*(client.get("components") or []), component]
    yield (
        "a swarm: updates go to the site that aggregates the round, and the recorder is at the "
        "sites, as records/ in their run directories; each holds what other sites sent"
    )
    yield "filters would protect nothing: NVFlare calls none for what sites of a swarm send"


def require_unfiltered(defence_text: str | None) -> None:
    """Refuse filters, which a swarm's updates do not pass.

    NVFlare 2.9 calls result filters for results of the server's tasks alone. It does call data
    filters of the task under which a site sends its update, and then sends what it had before them
    (``TaskController.broadcast_and_wait``); an update that stays at the aggregating site passes
    none.

    Raises:
        AttachError: There are filters.
    """
    if defence_text is not None:
        raise AttachError(
            f"{defence_text!r} would protect nothing in a swarm: NVFlare calls no filter for what "
            "one site sends another, or sends what it was before the filter. Protect in the "
            "training itself (DP-SGD), or use a workflow in which the server aggregates. Nothing "
            "was written."
        )
