"""The privacy ledger in NVFlare: count what is released, refuse rounds that cost too much."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from nvflare.apis.filter import ContentBlockedException, Filter
from nvflare.apis.fl_constant import FLContextKey
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable

from medleak.filters import checks
from medleak.filters.adapters.rim import (
    FailClosedFilter,
    global_model,
    noted_defences,
    round_of,
    site_path,
)
from medleak.filters.adapters.schema import LEDGER
from medleak.filters.privacy import accounting, ledger, releases
from medleak.filters.privacy.accounting import Guarantee
from medleak.filters.privacy.ledger import FILE_NAME, Entry, Spend
from medleak.filters.registry import defence
from medleak.filters.spec import SpecChain
from medleak.filters.update import STATISTICS, UpdateError, check_noised_by_training, kinds

_BUDGETS = "medleak.budgets"


class PrivacyLedger(FailClosedFilter):
    """Write what is about to leave into the site's ledger; last of the site's filters.

    Sees the defences that medleak's filters before it applied. Under one lock the budget is asked,
    the protected update is stored and the entry written; only then it leaves. A round that is asked
    for again sends the stored update: ε is neither lost nor spent twice. It does so only to the
    same job, for the same model; a round that was released and is no longer stored, or is asked for
    with another model, is refused: a second release of one round weakens the noise of the first.
    With ``target_epsilon``, or with :class:`PrivacyBudget` before training, a release over it is
    refused.

    Args:
        target_delta: δ at which ε is reported and limited.
        target_epsilon: Limit for each guarantee; None only counts.
        path: The ledger's file, in the site's own folder, so that it outlives jobs: ε is spent on
            data, not on jobs.
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
        state, sent_round = global_model(fl_ctx)
        job, site, round_number = _who(fl_ctx, sent_round)
        noted = noted_defences(fl_ctx)
        spend = Spend(
            job=job,
            round=round_number,
            site=site,
            defences=[d for d, _ in noted],
            guarantees=[g for _, g in noted if g is not None],
            delta=self.target_delta,
            model_sha256=releases.digest_of(state),
        )
        with ledger.opened(site_path(self.path, fl_ctx)) as book:
            release = releases.find(book, spend)
            again = release is not None
            if release is None:
                self._ask(book, spend, fl_ctx)
                release = releases.make(book, spend, update, self.target_epsilon)
        entry, result = release
        if again:
            self.log_warning(
                fl_ctx,
                f"round {round_number} of job {job} was asked for again: the stored update, "
                f"accounted for in line {entry.number}, is sent again",
                fire_event=False,
            )
        meta[LEDGER] = summary(entry)
        self.log_info(fl_ctx, f"ledger: {meta[LEDGER]}")
        return result

    def _ask(self, book: ledger.Book, spend: Spend, fl_ctx: FLContext) -> None:
        """Hold the release to what :class:`PrivacyBudget` allowed before training, too."""
        spends = [e.spend for e in book.entries]
        for planned, target_epsilon, target_delta in fl_ctx.get_prop(_BUDGETS, ()):
            like = [g for g in spend.guarantees if _kind(g) == _kind(planned)]
            if not like:
                raise UpdateError(
                    f"The budget of this site is for a {planned.unit} ({planned.relation}), and "
                    "the filters that ran give no such guarantee. Let planned say what they do."
                )
            ledger.check_budget(spends, like, target_epsilon, target_delta)


class PrivacyBudget(Filter):
    """Refuse the task before training if its release would exceed the budget.

    For ``task_data_filters``. A round whose update is accounted for and stored costs nothing more,
    so it is let through to be sent again. :class:`PrivacyLedger` asks this budget once more, with
    the guarantee of what the filters did, when the update is released.

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
            path = site_path(self.path, fl_ctx)
            entries = ledger.read(path).entries
            entry = releases.last(entries, job, round_number)
            if entry is None or not releases.is_stored(path, entry):
                spends = [e.spend for e in entries]
                ledger.check_budget(
                    spends, [self._guarantee], self.target_epsilon, self.target_delta
                )
            budget = (self._guarantee, self.target_epsilon, self.target_delta)
            noted = (*fl_ctx.get_prop(_BUDGETS, ()), budget)
            fl_ctx.set_prop(_BUDGETS, noted, private=True, sticky=False)
        except Exception as e:
            self.log_error(fl_ctx, f"round refused: {e}", fire_event=False)
            raise ContentBlockedException(f"PrivacyBudget refused the round: {e}") from e
        return shareable


class DeclareDPSGD(FailClosedFilter):
    """Note that the update was trained with DP-SGD, for a :class:`PrivacyLedger` after this filter.

    The training script states what it did in the result's ``meta["dp_sgd"] = {"noise_multiplier":
    …, "sample_rate": …, "steps": …}``, read after training, as the steps of Poisson sampling are
    known only then. This trusts the script: a site that does not must forbid scripts of others
    (docs/deploy.md). What the update itself shows is checked: statistics of batches that changed,
    or a tensor of which a part did not change, were not noised by DP-SGD, and stay at home.

    Nothing but the update leaves; see :class:`medleak.filters.adapters.ClippedGaussian` for
    ``metrics`` and ``disclose``.
    """

    _always_serialize_args: ClassVar = ("tasks", "metrics", "disclose")

    def __init__(
        self,
        tasks: Sequence[str] = ("train",),
        metrics: str = "drop",
        disclose: Sequence[str] = (),
    ) -> None:
        """Take the protected tasks; metrics leave without noise, so they are dropped by default."""
        super().__init__(tasks, metrics=metrics, disclose=disclose)

    def protect(
        self, update: Mapping[str, Any], meta: dict[str, Any], fl_ctx: FLContext
    ) -> Mapping[str, Any]:
        """Check update and declaration and note it; refuse an update without one."""
        declared = meta.get("dp_sgd")
        names = {"noise_multiplier", "sample_rate", "steps"}
        if not isinstance(declared, dict) or set(declared) != names:
            raise UpdateError(
                f"The training script declared dp_sgd={declared!r:.200} in the metadata; exactly "
                f"{', '.join(sorted(names))} are needed to account for it. Train with DP-SGD, put "
                "this filter before others with a guarantee, or remove it."
            )
        guarantee = accounting.dp_sgd(**declared)
        check_noised_by_training(update)
        self.note({"name": "dp_sgd", "args": dict(declared)}, guarantee, meta, fl_ctx)
        kind_of = kinds(update)
        return {n: v for n, v in update.items() if kind_of[n] not in STATISTICS}


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


def summary(entry: Entry) -> dict[str, Any]:
    """What the site tells the server about its ledger: ε so far, and the chain's head."""
    epsilons = [
        {"unit": g.unit, "relation": g.relation, "epsilon": e, "beside": list(g.beside)}
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
    if not job or round_number is None or not 0 <= round_number < 10**9:
        raise UpdateError(
            f"Job {job!r} and round {round_number!r:.80} must be known to keep a ledger, and the "
            f"task {fl_ctx.get_prop(FLContextKey.TASK_NAME)!r} lacks one of them."
        )
    return str(job), str(fl_ctx.get_identity_name()), round_number


def _kind(guarantee: Guarantee) -> tuple[str, str]:
    return guarantee.unit, guarantee.relation


def _check_target(target_epsilon: float | None, target_delta: float) -> None:
    checks.require_fraction("target_delta", target_delta, "it is the probability of failure.")
    if target_epsilon is not None:
        checks.require_positive("target_epsilon", target_epsilon, "it is the loss allowed.")
