"""A site's own list of the canaries that it planted: found, and of the run that is looked at."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from scipy.stats import binomtest

from medleak.custom.record import UpdateInfo, read_manifest
from medleak.custom.sites import canaries
from medleak.custom.sites.canaries import CanaryList

_UNFAIR = 1e-9  # chance below which coins that fell so were not fair, and the bound is void
_CLOCKS = timedelta(minutes=1)  # by which a site's clock and the server's may differ


def list_of(
    records: Path, site: str, infos: Sequence[UpdateInfo], given: Path | None
) -> CanaryList:
    """The list of ``site``'s canaries: of this very run, and by fair coins.

    Args:
        records: Directory.
        site: That planted some; ``infos``: its marked updates.
        given: The list; None: look where a simulated site left it.

    Raises:
        ValueError: It is missing, of another run or plan, or its coins were none.
    """
    path = given or beside(records, site, canaries.FILE)
    if path is None:
        raise ValueError(
            f"{site} planted canaries, and its list is not here: it stays at the site. Name the "
            f"{canaries.FILE} of its run directory by --canaries."
        )
    listed = canaries.load(path)
    marks = {(i.canaries.kind, i.canaries.count) for i in infos if i.canaries is not None}
    if listed.site != site or marks != {(listed.plan.kind, listed.plan.count)}:
        raise ValueError(
            f"{path} lists {listed.plan.count} canaries ({listed.plan.kind}) of {listed.site}, and "
            f"the record of {site} is marked with {sorted(marks)}: they are of two runs."
        )
    _require_of_this_run(path, listed, records, infos)
    planted = listed.planted
    if binomtest(int(planted.sum()), len(planted)).pvalue < _UNFAIR:
        raise ValueError(
            f"By {path}, {int(planted.sum())} of {len(planted)} canaries went in: fair coins do "
            "not fall so, and without them no bound holds. Ask the site for the list as drawn."
        )
    return listed


def _require_of_this_run(
    path: Path, listed: CanaryList, records: Path, infos: Sequence[UpdateInfo]
) -> None:
    """Refuse a list of another run of the same job: guesses by it are right by chance alone.

    A list is drawn after its run began, and before its site's first update came.
    """
    try:
        began = datetime.fromisoformat(read_manifest(records).created)
        came = min(datetime.fromisoformat(info.time) for info in infos)
        fits = began - _CLOCKS <= listed.created <= came + _CLOCKS
    except (ValueError, TypeError):  # TypeError: a time without a zone
        raise ValueError(
            f"The times in the record {records} are none: whether {path} was drawn in this run is "
            "not known, and by the list of another nothing could be guessed."
        ) from None
    if not fits:
        raise ValueError(
            f"{path} was drawn at {listed.created:%Y-%m-%d %H:%M:%S} UTC, and the record of "
            f"{listed.site} goes from {began:%Y-%m-%d %H:%M:%S} to its first update at "
            f"{came:%Y-%m-%d %H:%M:%S}: they are of two runs, or the clocks of site and server "
            "differ by more than a minute."
        )
    here = beside(records, listed.site, canaries.FILE)
    if here is not None and canaries.load(here) != listed:
        raise ValueError(
            f"{path} is not the list that {listed.site} left in this run, {here}: they are of two "
            "runs. Leave --canaries out."
        )


def beside(records: Path, site: str, name: str) -> Path | None:
    """A site's own file where the simulator leaves it; None without it, or with several."""
    run = records.resolve().parent
    if run.parent.name != "server":
        return None
    # The ledger's witness is a folder of the ledger's name.
    found = [p for p in sorted((run.parent.parent / site).glob(f"**/{name}")) if p.is_file()]
    return found[0] if len(found) == 1 else None
