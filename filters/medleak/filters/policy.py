"""The whole set of files that protects a site: written from a few answers, never by hand.

Pure functions from what a kit has to what it should have; ``medleak policy`` shows the difference,
tries it with :mod:`medleak.filters.doctor`, and writes.
"""

import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medleak.filters.allowed import SERVER_CLASSES, SITE_CLASSES, SITE_FILE, TASKS
from medleak.filters.defences.composition import Composition
from medleak.filters.privacy import accounting, ledger
from medleak.filters.registry import Defence, declaration, defence

HEURISTIC = "withhold+percentile_gaussian:sigma0=1,scope=group"
TARGET_DELTA = 1e-5
_ADAPTERS = "medleak.filters.adapters."
_OWNER = 0o600
# Rights of NVFlare's roles, for a role that a kit gives "any" of all.
_RIGHTS = (
    *("submit_job", "clone_job", "manage_job", "download_job", "view", "operate"),
    *("shell_commands", "byoc"),
)
_FORBIDDEN = ("byoc", "shell_commands")


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What an operator decides.

    Attributes:
        defence: What every training result passes, as for ``medleak audit --defence``.
        target_epsilon, target_delta: Limit over all rounds; ε None: counted, not limited.
        ledger: Its file in the kit.
        networks: Further networks that jobs may name: full names, or prefixes that end with a dot.
        sentinel: What to do about a model that looks like a trap: ``refuse_round``, ``refuse_run``,
            ``warn``; None: models are not looked at.
        disclose_schedule: Under an ε, let the number of images and the settings of training leave
            exactly, outside of what ε covers; without them a server cannot record for an audit.
    """

    defence: str
    target_epsilon: float | None = None
    target_delta: float = TARGET_DELTA
    ledger: str = ledger.FILE_NAME
    networks: Sequence[str] = ()
    sentinel: str | None = "refuse_round"
    disclose_schedule: bool = False


def clipped(
    *, target_epsilon: float, rounds: int, max_grad_norm: float, target_delta: float = TARGET_DELTA
) -> Choice:
    """Clip and add the least Gaussian noise that stays within ``target_epsilon`` after ``rounds``.

    Raises:
        ValueError: A number is out of range.
    """
    if rounds < 1:
        raise ValueError(f"rounds must be at least 1, got {rounds}: noise is shared among them.")
    noise = accounting.noise_multiplier_for(
        "gaussian",
        target_epsilon=target_epsilon,
        target_delta=target_delta,
        rounds=rounds,
        relation="replace",
    )
    text = f"clipped_gaussian:max_grad_norm={max_grad_norm!r},noise_multiplier={noise!r}"
    return Choice(defence=text, target_epsilon=target_epsilon, target_delta=target_delta)


def policy(text: str) -> dict[str, Any]:
    """A site's ``privacy.json`` that applies the defence ``text`` to every training result.

    Without a budget: :func:`privacy` has one.

    Raises:
        ValueError: See `medleak.filters.registry.defence`.
    """
    return privacy(Choice(defence=text))


def privacy(choice: Choice) -> dict[str, Any]:
    """``privacy.json``: one scope, whose filters no job can switch off.

    Raises:
        ValueError: An unknown defence, or a limit on ε or a disclosed schedule of a defence that
            has none.
    """
    used = defence(choice.defence)
    steps = list(used.steps) if isinstance(used, Composition) else [used]
    if choice.disclose_schedule and not any(map(accounting.guarantee_of, steps)):
        raise ValueError(
            f"{choice.defence} promises no ε, so the schedule leaves with every update anyway: "
            "disclose_schedule is for a defence with a guarantee. Leave it out."
        )
    tasks = {"tasks": list(TASKS)}
    accounts = {"target_delta": choice.target_delta}
    if choice.ledger != ledger.FILE_NAME:
        accounts["path"] = choice.ledger  # type: ignore[assignment]
    limit = {} if choice.target_epsilon is None else {"target_epsilon": choice.target_epsilon}
    data, notes = [], []
    if limit:
        planned = _planned(steps)
        data.append(_filter("PrivacyBudget", {"planned": planned, **limit, **accounts}))
    if choice.sentinel is not None:  # it must see what the server sent, so before RestoreWithheld
        data.append(_filter("Sentinel", {"on_alarm": choice.sentinel, **tasks}))
        notes.append(_filter("SentinelNotes", tasks))
    if any(step.name == "withhold" for step in steps):
        data.append(_filter("RestoreWithheld", {}))
    scope = {
        "name": "default",
        "task_data_filters": [*data, _filter("GlobalModel", {}), _filter("WorkflowGuard", tasks)],
        "task_result_filters": [
            *(
                _filter(
                    type(s).__name__, {**declaration(s)["args"], **tasks, **_disclosed(s, choice)}
                )
                for s in steps
            ),
            _filter("PrivacyLedger", {**limit, **accounts, **tasks}),
            *notes,
        ],
    }
    return {"scopes": [scope], "default_scope": "default"}


def _disclosed(step: Defence, choice: Choice) -> dict[str, Any]:
    told = choice.disclose_schedule and accounting.guarantee_of(step) is not None
    return {"disclose": ["schedule"]} if told else {}


def resources(present: Mapping[str, Any], *, server: bool = False) -> dict[str, Any]:
    """``resources.json`` with a class allow-list of full names, enforced, and without log streams.

    ``present`` is what the kit has; the rest of it stays.
    """
    components = present.get("components", [])
    return {
        "format_version": 2,
        **present,
        "class_allow_list": list(SERVER_CLASSES if server else SITE_CLASSES),
        "class_list_enforcement_mode": "enforce",
        "allow_log_streaming": False,
        "components": [c for c in components if "log_streamer" not in str(c.get("path")).lower()],
    }


def authorization(present: Mapping[str, Any]) -> dict[str, Any]:
    """``authorization.json`` in which no role may bring code or run commands.

    ``present`` is what the kit has; other rights stay as they are. Without any, no role has rights.
    """
    roles = present.get("permissions", {})
    return {
        "format_version": "1.0",
        **present,
        "permissions": {name: _restricted(rights) for name, rights in roles.items()}
        or {"member": {"view": "any", "byoc": "none"}},
    }


def is_server(kit: Path) -> bool:
    """Whether a startup kit is the server's."""
    return (kit / "startup" / "fed_server.json").exists()


def files(kit: Path, choice: Choice) -> dict[Path, str]:
    """What the kit's files should hold, by their path in the kit.

    A server's kit gets no ``privacy.json``: NVFlare would apply it to updates that have left.

    Raises:
        ValueError: ``kit`` is no kit, a file of it is no JSON, or ``choice`` cannot be met.
    """
    if not (kit / "startup").is_dir() or not (kit / "local").is_dir():
        raise ValueError(f"{kit} has no startup/ and local/: give a startup kit, such as …/site-1.")
    server = is_server(kit)
    wanted: dict[str, Any] = {
        "resources.json": resources(_present(kit, "resources.json"), server=server),
        "authorization.json": authorization(_present(kit, "authorization.json")),
    }
    if not server:
        wanted["privacy.json"] = privacy(choice)
        if choice.networks:
            wanted[SITE_FILE] = {"networks": list(choice.networks)}
    return {Path("local") / n: json.dumps(c, indent=2) + "\n" for n, c in wanted.items()}


def changed(kit: Path, wanted: Mapping[Path, str]) -> Iterator[tuple[Path, str, str]]:
    """Path, present and wanted text of each file that would change."""
    for path, text in wanted.items():
        there = kit / path
        before = there.read_text(encoding="utf-8") if there.exists() else ""
        if before != text:
            yield path, before, text


def write(kit: Path, wanted: Mapping[Path, str], choice: Choice) -> None:
    """Write the files, whole or not at all; they, state and ledger are their owner's only.

    The kit's own folder is closed to others too: jobs keep lists of images in it.
    """
    for path, text in wanted.items():
        target = kit / path
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=".medleak")  # 0600
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, target)
        target.chmod(_OWNER)
    if (kit / choice.ledger).exists():
        (kit / choice.ledger).chmod(_OWNER)
    kit.chmod(0o700)


def _planned(steps: Sequence[Defence]) -> str:
    """The mechanism of ``steps`` in the words of ``PrivacyBudget``."""
    for step in steps:
        if accounting.guarantee_of(step) is not None:
            args = declaration(step)["args"]
            said = ",".join(f"{k}={_plain(args[k])}" for k in args if k not in ("buffers",))
            return f"{step.name}:{said}"
    raise ValueError(
        f"A limit on ε needs a mechanism that has one; {'+'.join(s.name for s in steps)} has none. "
        "Take clipped_gaussian or clipped_laplace, or set no limit."
    )


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _restricted(rights: Any) -> dict[str, Any]:
    given = dict(rights) if isinstance(rights, Mapping) else dict.fromkeys(_RIGHTS, rights)
    return {**given, **dict.fromkeys(_FORBIDDEN, "none")}


def _present(kit: Path, name: str) -> dict[str, Any]:
    for path in (kit / "local" / name, kit / "local" / f"{name}.default"):
        if path.exists():
            try:
                content = json.loads(path.read_text(encoding="utf-8"))
            except ValueError as e:
                raise ValueError(f"{path} is no JSON ({e}): mend or remove it first.") from e
            if not isinstance(content, dict):
                raise ValueError(f"{path} is no JSON object: mend or remove it first.")
            return content
    return {}


def _filter(name: str, args: Mapping[str, Any]) -> dict[str, Any]:
    return {"path": _ADAPTERS + name, "args": dict(args)}
