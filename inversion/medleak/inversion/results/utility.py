"""What a defence costs: the test accuracy of federations that were run under it."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from medleak.custom.atomic import write_atomic
from medleak.custom.data.datalist import DATALIST, load_datalist
from medleak.custom.intervals import wilson

UTILITY = "utility.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Utility:
    """Test accuracy of one federation, with a 95 % interval over test images.

    Attributes:
        defence: What its sites did before sending, as `medleak.filters` names it.
        strength: The defence's one number, where it is part of a curve.
        accuracy: Share of the test images that the federation's model classifies right.
        lower95: And `upper95`: Wilson's interval, or as the run's own report has it.
        n: Test images.
        source: Name of the run's directory.
    """

    defence: str
    strength: float | None
    accuracy: float
    lower95: float
    upper95: float
    n: int
    source: str


def read_utility(run: Path, defence: str, strength: float | None = None) -> Utility:
    """The test accuracy of the federation in ``run``.

    Read from the server's ``test_metrics.json``, else from NVFlare's ``cross_val_results.json``;
    that one's number of test images is the length of the testing site's datalist.

    Args:
        run: A simulator workspace or a server's run directory.
        defence: What the run was under.
        strength: See `Utility`.

    Raises:
        ValueError: There is no test result, more than one, or it is damaged.
    """
    if not run.is_dir():
        raise ValueError(f"Run {str(run)!r} does not exist: there is no accuracy to read.")
    if own := _only(run, "test_metrics.json"):
        found, n, interval = _own_report(own)
    elif theirs := _only(run, "cross_site_val/cross_val_results.json"):
        found, n = _cross_site(theirs, run)
        interval = wilson(found, n)
    else:
        raise ValueError(
            f"Run {str(run)!r} holds neither test_metrics.json nor cross_val_results.json: its "
            "model was not tested. Let the job finish, or name another run."
        )
    return Utility(
        defence=defence,
        strength=strength,
        accuracy=found,
        lower95=interval[0],
        upper95=interval[1],
        n=n,
        source=run.resolve().name,
    )


def write_utilities(out: Path, found: Sequence[Utility]) -> None:
    """Put ``found`` into utility.json of an audit directory, beside what is there.

    Raises:
        ValueError: The file that is there is damaged.
        OSError: The disk refuses it.
    """
    path = out / UTILITY
    kept = read_utilities(out)
    new = {(u.defence, u.source) for u in found}
    rows = [*(u for u in kept if (u.defence, u.source) not in new), *found]
    write_atomic(path, json.dumps([asdict(u) for u in rows], indent=2).encode() + b"\n")


def read_utilities(out: Path) -> list[Utility]:
    """What `write_utilities` wrote; none if there is no such file.

    Raises:
        ValueError: It is damaged.
    """
    path = out / UTILITY
    if not path.exists():
        return []
    try:
        return [Utility(**entry) for entry in json.loads(path.read_bytes())]
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{path} is damaged ({error}). Remove it, and name the runs again."
        ) from None


def of_text(text: str) -> tuple[str, Path]:
    """``KEY=RUN``, split at the last ``=``.

    Raises:
        ValueError: It has another form.
    """
    name, equals, run = text.rpartition("=")
    if not (name.strip() and equals and run.strip()):
        raise ValueError(
            f"{text!r} is not of the form DEFENCE=RUN (or STRENGTH=RUN), e.g. none=workspace/clean."
        )
    return name.strip(), Path(run.strip())


def _only(run: Path, name: str) -> Path | None:
    found = sorted(run.glob(f"**/{name}"))
    if len(found) > 1:
        raise ValueError(
            f"Run {str(run)!r} holds {len(found)} files {name}, of several federations: which one "
            "counts? Name the run directory of one."
        )
    return found[0] if found else None


def _own_report(path: Path) -> tuple[float, int, tuple[float, float]]:
    try:
        report = json.loads(path.read_bytes())
        n, accuracy = int(report["n"]), report["accuracy"]
        values = [float(accuracy[key]) for key in ("value", "lower95", "upper95")]
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(path, error) from None
    return _checked(path, values[0], n), n, (values[1], values[2])


def _cross_site(path: Path, run: Path) -> tuple[float, int]:
    try:
        results: dict[str, Any] = json.loads(path.read_bytes())
        site, models = next(iter(results.items()))
        metrics = next(iter(models.values()))
        share = float(metrics["test_accuracy"])
    except (ValueError, KeyError, TypeError, AttributeError, StopIteration) as error:
        raise _damaged(path, error) from None
    lists = sorted(run.glob(f"**/{site}/**/{DATALIST}"))
    n = len(load_datalist(lists[0]).get("test", ())) if len(lists) == 1 else 0
    return _checked(path, share, n), n


def _checked(path: Path, share: float, n: int) -> float:
    if not 0 <= share <= 1 or n < 1:
        raise ValueError(
            f"{path} says accuracy {share} on {n} images: no interval can be given. Name a run "
            "that tested its model, with the testing site's datalist."
        )
    return share


def _damaged(path: Path, error: Exception) -> ValueError:
    return ValueError(
        f"{path} holds no test accuracy ({type(error).__name__}: {error}). Name another run."
    )
