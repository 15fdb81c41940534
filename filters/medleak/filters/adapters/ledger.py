"""The privacy ledger in NVFlare: count what is released, refuse rounds that cost too much."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from nvflare.apis.filter import ContentBlockedException, Filter
from nvflare.apis.fl_constant import FLContextKey
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable

from medleak.filters import checks, storage
from medleak.filters.adapters.rim import (
    FailClosedFilter,
    global_model,
    note_defence,
    noted_defences,
    round_of,
    site_path,
)
from medleak.filters.privacy import accounting, ledger
from medleak.filters.privacy.accounting import Guarantee
from medleak.filters.privacy.ledger import FILE_NAME, Entry, Spend
from medleak.filters.registry import defence
from medleak.filters.spec import SpecChain
from medleak.filters.update import UpdateError


class PrivacyLedger(FailClosedFilter):
    """Write what is about to leave into the site's ledger; last of the site's filters.

    Sees the defences that medleak's filters before it applied. The protected update is stored
    beside the ledger before the entry is written. A round that is repeated after a crash sends
    the stored update again: ε is neither lost nor spent twice. With ``target_epsilon``, a release
    over it is refused; :class:`PrivacyBudget` asks before training already.

    Args:
        target_delta: δ at which ε is reported and limited.
        target_epsilon: Limit for each guarantee; None only counts.
        path: The ledger's file; relative to the site's own folder, so that it outlives jobs: ε is
            spent on data, not on jobs.
        tasks: Protected tasks.
    """

    _always_serialize_args: ClassVar = ("target_delta", "target_epsilon", "path", "tasks")

    def __init__(
        self,
        target_delta: float,
        target_epsilon: float | None = None,
        path: str = FILE_NAME,
        tasks: Sequence[str] = ("train",),
    ) -> None:
        """Take limit, place and tasks."""
        super().__init__(tasks)
        _check_target(target_epsilon, target_delta)
        self.target_delta, self.target_epsilon, self.path = target_delta, target_epsilon, path

    def protect(
        self, update: Mapping[str, Any], meta: dict[str, Any], fl_ctx: FLContext
    ) -> Mapping[str, Any]:
        """Account for the update, or send the stored one of this round again."""
        path = site_path(self.path, fl_ctx)
        store = path.with_suffix(".release.safetensors")
        job, site, round_number = _who(fl_ctx, global_model(fl_ctx)[1])
        entry = last_release(ledger.read(path).entries, job, round_number)
        stored = storage.read_if(store, entry.spend.released_sha256) if entry else None
        if entry is not None and stored is not None:
            self.log_info(fl_ctx, f"round {round_number}: the accounted update is sent again")
            result: Mapping[str, Any] = stored
        else:
            noted = noted_defences(fl_ctx)
            spend = Spend(
                job=job,
                round=round_number,
                site=site,
                defences=[d for d, _ in noted],
                guarantees=[g for _, g in noted if g is not None],
                delta=self.target_delta,
                released_sha256=storage.save(store, update),
            )
            entry = ledger.append(path, spend, target_epsilon=self.target_epsilon)
            result = update
        meta["medleak_ledger"] = summary(entry)
        self.log_info(fl_ctx, f"ledger: {meta['medleak_ledger']}")
        return result


class PrivacyBudget(Filter):
    """Refuse the task before training if its release would exceed the budget.

    For ``task_data_filters``. A round whose update is accounted for already costs nothing more, so
    it is let through to be sent again.

    Args:
        planned: What the result filters will do, as for ``medleak audit --defence``
            (``"clipped_gaussian:max_grad_norm=1,noise_multiplier=8"``), or
            ``"dp_sgd:noise_multiplier=1.1,sample_rate=0.5,steps=2"``.
        target_epsilon: Limit on ε.
        target_delta: At this δ.
        path: As :class:`PrivacyLedger`'s.
    """

    _always_serialize_args: ClassVar = ("planned", "target_epsilon", "target_delta", "path")

    def __init__(
        self, planned: str, target_epsilon: float, target_delta: float, path: str = FILE_NAME
    ) -> None:
        """Take plan, limit and place; refuse a plan without a guarantee."""
        super().__init__()
        _check_target(target_epsilon, target_delta)
        self.planned, self.path = planned, path
        self.target_epsilon, self.target_delta = target_epsilon, target_delta
        self._guarantee = planned_guarantee(planned)

    def process(self, shareable: Shareable, fl_ctx: FLContext) -> Shareable:
        """Let the task through, or raise ``ContentBlockedException`` with the reason."""
        try:
            job, _, round_number = _who(fl_ctx, round_of(shareable))
            entries = ledger.read(site_path(self.path, fl_ctx)).entries
            if last_release(entries, job, round_number) is None:
                spends = [e.spend for e in entries]
                ledger.check_budget(
                    spends, [self._guarantee], self.target_epsilon, self.target_delta
                )
        except Exception as e:
            self.log_error(fl_ctx, f"round refused: {e}", fire_event=False)
            raise ContentBlockedException(f"PrivacyBudget refused the round: {e}") from e
        return shareable


class DeclareDPSGD(FailClosedFilter):
    """Note that the update was trained with DP-SGD, for a :class:`PrivacyLedger` after this filter.

    Changes nothing. The training script states what it did in the result's
    ``meta["dp_sgd"] = {"noise_multiplier": …, "sample_rate": …, "steps": …}``, read after training,
    as the steps of Poisson sampling are known only then. This trusts the script: a site that does
    not must forbid scripts of others (docs/deploy.md).
    """

    _always_serialize_args: ClassVar = ("tasks", "metrics")

    def __init__(self, tasks: Sequence[str] = ("train",), metrics: str = "drop") -> None:
        """Take the protected tasks; metrics leave without noise, so they are dropped by default."""
        super().__init__(tasks, metrics=metrics)

    def protect(
        self, update: Mapping[str, Any], meta: dict[str, Any], fl_ctx: FLContext
    ) -> Mapping[str, Any]:
        """Check and note the declaration; refuse an update without one."""
        declared = meta.get("dp_sgd")
        names = {"noise_multiplier", "sample_rate", "steps"}
        if not isinstance(declared, dict) or set(declared) != names:
            raise UpdateError(
                f"The training script declared dp_sgd={declared!r} in the metadata; exactly "
                f"{', '.join(sorted(names))} are needed to account for it. Train with DP-SGD, or "
                "remove this filter."
            )
        guarantee = accounting.dp_sgd(**declared)
        note_defence({"name": "dp_sgd", "args": dict(declared)}, guarantee, meta, fl_ctx)
        return update


def planned_guarantee(planned: str) -> Guarantee:
    """The guarantee of one release under ``planned``; see :class:`PrivacyBudget`.

    Raises:
        ValueError: Unknown or malformed, or a heuristic, on which no budget can be kept.
    """
    if (chain := SpecChain.parse(planned)).names == ("dp_sgd",):
        args: dict[str, Any] = chain.last.args
        try:
            return accounting.dp_sgd(
                noise_multiplier=float(args["noise_multiplier"]),
                sample_rate=float(args["sample_rate"]),
                steps=args["steps"],
            )
        except KeyError as e:
            raise ValueError(f"dp_sgd in planned={planned!r} lacks {e.args[0]}.") from e
    found = accounting.guarantee_of(defence(planned))
    if found is None:
        raise ValueError(
            f"planned={planned!r} is a heuristic (ε: none), on which no budget can be kept. Use "
            "clipped_gaussian, clipped_laplace or dp_sgd."
        )
    return found


def last_release(entries: Sequence[Entry], job: str, round_number: int) -> Entry | None:
    """The latest entry of this round of this job."""
    same = (e for e in reversed(entries) if (e.spend.job, e.spend.round) == (job, round_number))
    return next(same, None)


def summary(entry: Entry) -> dict[str, Any]:
    """What the site tells the server about its ledger: ε so far, and the chain's head."""
    epsilons = [
        {"unit": g.unit, "relation": g.relation, "epsilon": e}
        for g, e in zip(entry.spend.guarantees, entry.epsilons, strict=True)
    ]
    return {
        "entries": entry.number,
        "head": entry.hash,
        "delta": entry.spend.delta,
        "epsilon": epsilons or "none (heuristic)",
    }


def _who(fl_ctx: FLContext, round_number: int | None) -> tuple[str, str, int]:
    job = fl_ctx.get_job_id()
    if not job or round_number is None:
        raise UpdateError(
            f"Job {job!r} and round {round_number!r} must be known to keep a ledger, and the task "
            f"{fl_ctx.get_prop(FLContextKey.TASK_NAME)!r} lacks one of them."
        )
    return str(job), str(fl_ctx.get_identity_name()), round_number


def _check_target(target_epsilon: float | None, target_delta: float) -> None:
    checks.require_fraction("target_delta", target_delta, "it is the probability of failure.")
    if target_epsilon is not None:
        checks.require_positive("target_epsilon", target_epsilon, "it is the loss allowed.")
