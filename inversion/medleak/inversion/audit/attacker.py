"""One case of an audit: from the record on disk to a reconstruction, without any truth."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np
import torch
from torch import Tensor

from medleak.custom.record import Record, RecordError, list_updates
from medleak.inversion.attacks.registry import AttackTable, attack_of
from medleak.inversion.audit import health
from medleak.inversion.audit.health import Health, OutOfTimeError
from medleak.inversion.audit.ladder import other_prior
from medleak.inversion.audit.larger_steps import chosen, made_anew, step_of
from medleak.inversion.audit.panels import keep_iterations
from medleak.inversion.audit.plan import Plan
from medleak.inversion.audit.replay import replayed, summed_sites
from medleak.inversion.evidence.declared_input import disagreements
from medleak.inversion.images.prior import load_prior
from medleak.inversion.images.truth import training_items
from medleak.inversion.knowledge import Knowledge
from medleak.inversion.measures.similarity import as_channels
from medleak.inversion.membership import assessor as membership
from medleak.inversion.membership.answer import Assessed
from medleak.inversion.networks import make_importable
from medleak.inversion.observation import Observation, observe
from medleak.inversion.reconstruction import ProgressCallback, Reconstruction
from medleak.inversion.results.case import NO_DEFENCE, Case
from medleak.inversion.statement import (
    carries_momentum,
    complete,
    without_kept_momentum,
)


@dataclass(frozen=True, slots=True)
class EasyCase:
    """The health check of an attack with one kind of knowledge, from one update's global model."""

    round: int
    site: str
    attack: str
    knowledge: str


Task = Case | EasyCase


class Attacker:
    """Does the cases of a plan, one at a time; made anew in every process that does some.

    It holds what cases share, and the record of a case only while it is worked on.
    """

    def __init__(
        self,
        plan: Plan,
        table: AttackTable,
        datalists: Mapping[str, Path | None],
        device: str,
        *,
        easy: bool = True,
    ) -> None:
        """Read the prior; ``datalists`` are opened only where labels are declared known.

        ``easy``: membership scores are tried on an easy case; of attacks that is a task.

        Raises:
            ValueError: The prior does not fit the record.
        """
        self._easy_scores = easy
        self._plan, self._table, self._datalists, self._device = plan, table, datalists, device
        make_importable(plan.records, plan.allowed_prefixes)
        self._knowledge = {k.describe(): k for k in plan.knowledge}
        self._input = plan.given.manifest(plan.records).known_input()
        self._prior = load_prior(plan.prior, self._input.spatial_size, self._input.channels)

    def __call__(
        self, task: Task, on_progress: ProgressCallback | None
    ) -> Reconstruction | Health | Assessed:
        """Do ``task``.

        Raises:
            ValueError, ArithmeticError, RuntimeError: It cannot be done; others may.
        """
        if isinstance(task, EasyCase):
            return self._easy(task, on_progress)
        if task.score is not None:
            return self._ask(task, task.score)
        kind, settings = attack_of(task.attack, self._table)
        generator = torch.Generator().manual_seed(task.stream)
        if task.averages:
            if kind.run_average is None:
                raise ValueError(f"Attack {task.attack} joins rounds, and its module cannot.")
            seen = _Rounds(self._rounds(task), functools.partial(self._observed, task))
            run, last = functools.partial(kind.run_average, settings, seen), seen[-1]
        else:
            last = self._observed(task, task.round)
            run = functools.partial(kind.run, settings, last)
        prior = self._start(last)
        if (kept := self._plan.keep_iterations) > 0:
            on_progress = keep_iterations(self._plan.out, task, kept, on_progress)
        return run(prior, generator=generator, on_progress=on_progress)

    def _easy(self, task: EasyCase, on_progress: ProgressCallback | None) -> Health:
        kind, settings = attack_of(task.attack, self._table)
        image, label = health.easy_image(self._input)
        allowed = self._plan.allowed_prefixes
        try:
            record = self._readable(task)
            declared = self._contradiction(record)
            record = health.easy_record(record, image, label, allowed_prefixes=allowed)
            observation = self._observe(record, task.knowledge, label)
            found = kind.run(
                health.capped(settings),
                observation,
                self._start(observation),
                generator=torch.Generator().manual_seed(0),
                on_progress=health.stop_late(then=on_progress),
            )
        except (ValueError, ArithmeticError, RuntimeError, OutOfTimeError) as error:
            return health.failed(task.round, str(error))
        if found.ending == "interrupted":
            raise KeyboardInterrupt
        images = as_channels(found.images, image.shape[1])
        found = dataclasses.replace(found, images=images)
        return health.judge(task.round, found, image, self._prior, declared)

    def _ask(self, case: Case, score: str) -> Assessed:
        """Who was in, by ``score``; the one task that looks at truth, after it has scored."""
        rounds = self._rounds(case) if case.averages else [case.round]
        known = self._knowledge[case.knowledge]
        attacker = membership.Attacker(
            read=lambda round, site: self._sent(case, round, site),
            recorded=self._read,
            # No score infers labels: they stand beside the candidates.
            look=lambda record: self._look(record, dataclasses.replace(known, labels="inferred")),
            knowledge=case.knowledge,
            allowed_prefixes=self._plan.allowed_prefixes,
        )
        return self._assessor.assess(rounds, case.site, score, attacker, easy=self._easy_scores)

    @functools.cached_property
    def _assessor(self) -> membership.Assessor:
        assert self._plan.question is not None  # noqa: S101  else no case has a score
        records = self._plan.records
        return membership.Assessor(self._plan.question, records, self._input.picture())

    def _contradiction(self, record: Record) -> str:
        """What in ``record`` contradicts what was said of it; all that it has is used.

        It is about the record and not about an attacker: what he may know does not matter.
        """
        allowed = self._plan.allowed_prefixes
        seen = observe(complete(record), Knowledge(), allowed_prefixes=allowed)
        return "; ".join(disagreements(record, seen))

    def _readable(self, task: EasyCase) -> Record:
        """The record of ``task``, else another: of these only the global model counts."""
        updates = list_updates(self._plan.records)
        # Of the same round first: its global model is the very one.
        for round, site in sorted(updates, key=lambda u: (u[0] != task.round, u[1] != task.site)):
            with suppress(RecordError):
                return self._read(round, site)
        return self._read(task.round, task.site)

    def _read(self, round: int, site: str) -> Record:
        """An update as recorded, with what the auditor says of it."""
        return self._plan.given.record(self._plan.records, round, site)

    def _rounds(self, case: Case) -> list[int]:
        """Those up to the case's own in which its site sent an update."""
        return [round for round, _ in case.seen(list_updates(self._plan.records))]

    def _observed(self, case: Case, round: int) -> Observation:
        """What the attacker of ``case`` sees of ``round``: as recorded, then what is replayed."""
        sites = summed_sites(self._plan.records, case, round)
        record = replayed(case, round, sites, functools.partial(self._trained, case, round))
        known = self._knowledge[case.knowledge]
        if case.defence == NO_DEFENCE and known.lr and carries_momentum(record):
            record = self._stateless(record, case.site)
        labels = None
        if known.labels == "known":
            labels = torch.cat([self._labels(case, round, site) for site in sites])
        return self._observe(record, case.knowledge, labels)

    def _stateless(self, record: Record, site: str) -> Record:
        """Without the momentum that an earlier round left, where that one is recorded."""
        before = record.info.round - 1
        if (before, site) not in list_updates(self._plan.records):
            return record
        return without_kept_momentum(record, self._read(before, site))

    def _trained(self, case: Case, round: int, site: str) -> Record:
        """An update as recorded, or of the step that ``case`` asks for."""
        record = self._read(round, site)
        if step_of(case) is None:
            return record
        items = chosen(case, round, site, self._datalists[site])
        return made_anew(record, items, self._plan.allowed_prefixes)

    def _sent(self, case: Case, round: int, site: str) -> Record:
        """What the attacker of ``case`` holds of ``site``, its own or one that is a null.

        Raises:
            ValueError: It is a sum over sites, which is no other site's; or of a step made anew, in
                which not all were that the truth lists.
        """
        if step_of(case) is not None:
            raise ValueError("Who was in a step that the audit made anew is not asked.")
        other = site != case.site
        case = dataclasses.replace(case, site=site)
        sites = summed_sites(self._plan.records, case, round)
        if other and len(sites) > 1:
            raise ValueError(f"A sum over {len(sites)} sites may hold what {site} did not have.")
        return replayed(case, round, sites, functools.partial(self._read, round))

    def _observe(self, record: Record, knowledge: str, labels: Tensor | None) -> Observation:
        known = self._knowledge[knowledge]
        return self._look(record, known, labels if known.labels == "known" else None)

    def _look(self, record: Record, known: Knowledge, labels: Tensor | None = None) -> Observation:
        return observe(
            complete(record),  # from what the attacker has: after the defence
            known,
            device=self._device,
            labels=labels,
            stale_global=self._stale(record, known.model_round),
            allowed_prefixes=self._plan.allowed_prefixes,
        )

    def _labels(self, case: Case, round: int, site: str) -> Tensor:
        if (datalist := self._datalists[site]) is None:
            raise ValueError(
                f"Knowledge says that the labels of {site} are known, but there is no truth list "
                "to take them from. Give --truth, or have them inferred."
            )
        items = training_items(datalist, site)
        if step_of(case) is not None:
            items = chosen(case, round, site, datalist)
        return torch.tensor([item.label for item in items])

    def _stale(self, record: Record, which: str) -> Mapping[str, np.ndarray] | None:
        """The global model of an earlier round; it is the same for all sites."""
        if which == "current":
            return None
        now, records = record.info.round, self._plan.records
        # Of a round whose updates were pruned the model may be there still.
        kept: dict[int, str | None] = dict.fromkeys(record.manifest.kept_models)
        models = kept | dict(reversed(list_updates(records)))
        earlier = sorted(round for round in models if round < now)
        if not earlier:
            raise ValueError(
                f"Knowledge says that the attacker has the {which} global model, but no round "
                f"before {now} is recorded. Audit a later round, or record more of them."
            )
        round = earlier[-1 if which == "previous" else 0]
        site = models[round]
        if site is None:
            return self._plan.given.kept_model(records, round)
        return self._read(round, site).global_state

    def _start(self, observation: Observation) -> Tensor | None:
        """The prior that the attacker has, [1, C, H, W], in the channels that it looks for."""
        if not observation.knowledge.prior:
            return None
        size, channels = self._input.spatial_size, self._input.channels
        prior = {
            "given": lambda: self._prior,
            "gray": lambda: load_prior("gray", size, channels),
            "other": lambda: other_prior(self._plan.prior, size, channels),
        }[observation.knowledge.prior_image]()
        return as_channels(prior, observation.image_channels).to(observation.device)


class _Rounds(Sequence[Observation]):
    """Observations of a site by round, read when asked for, so that a hundred fit in memory."""

    def __init__(self, rounds: Sequence[int], observed: Callable[[int], Observation]) -> None:
        self._numbers, self._observed = rounds, observed

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, index: int) -> Observation: ...
    @overload
    def __getitem__(self, index: slice) -> "_Rounds": ...
    def __getitem__(self, index: int | slice) -> "Observation | _Rounds":
        if isinstance(index, slice):
            return _Rounds(self._numbers[index], self._observed)
        return self._observed(self._numbers[index])
