"""Attack every update of a plan, measure, and keep what was found in an audit directory."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medleak.custom.record import Manifest, Record, read_manifest, read_record
from medleak.filters.noise import NoiseSource
from medleak.filters.registry import defence
from medleak.inversion.audit_config import begin
from medleak.inversion.evaluation import Evaluator
from medleak.inversion.metrics import as_channels
from medleak.inversion.observation import Observation, observe
from medleak.inversion.panels import PRIOR_PICTURE, save_case
from medleak.inversion.pictures import save_png, to_picture
from medleak.inversion.plan import (
    ATTACKS,
    NO_DEFENCE,
    AttackKind,
    AttackTable,
    Case,
    Plan,
    attack_of,
)
from medleak.inversion.prior import load_prior
from medleak.inversion.reconstruction import ProgressCallback, Reconstruction
from medleak.inversion.results import (
    Row,
    read_refused,
    read_rows,
    summarise,
    write_json,
    write_rows,
)
from medleak.inversion.truth import find_truth, training_items


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one case.

    Attributes:
        case: Which one.
        rows: Its figures; empty if it was refused.
        refused: Why it could not be attacked.
        kept: The rows were in the audit directory already.
    """

    case: Case
    rows: Sequence[Row] = ()
    refused: str | None = None
    kept: bool = False


def audit(
    plan: Plan,
    *,
    attacks: AttackTable = ATTACKS,
    watch: Callable[[Case], ProgressCallback] | None = None,
    command: Sequence[str] = (),
) -> Iterator[Outcome]:
    """Run ``plan`` case by case, yielding each outcome when it is on disk.

    Whatever can be wrong with the request as a whole is found before the first attack, and nothing
    is written then. A case that fails (a damaged record, a record of another model) is refused by
    name and the rest goes on. Stopped at any moment, the audit directory holds whole cases only,
    and the same plan goes on where it was, to the same figures.

    Args:
        plan: What to try.
        attacks: Names that the plan may use.
        watch: Makes the callback that follows the attack on a case.
        command: For config.json, so that a reader can repeat the audit.

    Yields:
        One outcome a case, in the order of ``plan.cases()``.

    Raises:
        ValueError: The plan is unusable, or its directory holds another audit.
        OSError: The disk refuses a file.
        KeyboardInterrupt: An attack was interrupted; its case is not counted.
    """
    manifest = read_manifest(plan.records)
    cases = plan.cases()
    run = _Run(plan, manifest, {spec: attack_of(spec, attacks) for spec in plan.attacks}, cases)
    begin(
        plan,
        cases,
        {spec: settings for spec, (_, settings) in run.attacks.items()},
        run.prior,
        run.datalists,
        command,
    )
    save_png(plan.out / PRIOR_PICTURE, to_picture(run.prior[0]))
    rows = read_rows(plan.out / "results.csv")
    refused = [r for r in read_refused(plan.out) if Case(**r["case"]) not in cases]
    done = {row.case for row in rows}
    for case in cases:
        if case in done:
            yield Outcome(case=case, rows=[r for r in rows if r.case == case], kept=True)
            continue
        try:
            found = run.attack(case, watch(case) if watch else None)
        except (ValueError, ArithmeticError, RuntimeError) as error:
            outcome = Outcome(case=case, refused=" ".join(str(error).split()))
            refused.append({"case": dataclasses.asdict(case), "why": outcome.refused})
        else:
            outcome = Outcome(case=case, rows=found)
            rows += found
            write_rows(plan.out / "results.csv", rows)
        write_json(plan.out / "summary.json", summarise(rows, refused))
        yield outcome
    # Also when nothing was left to do: a kill between the two files leaves an older summary.
    write_json(plan.out / "summary.json", summarise(rows, refused))


class _Run:
    """A plan with what all its cases share, read and checked once."""

    def __init__(
        self,
        plan: Plan,
        manifest: Manifest,
        attacks: dict[str, tuple[AttackKind, Any]],
        cases: Sequence[Case],
    ) -> None:
        _check_device(plan.device)
        self.plan, self.attacks, self.input = plan, attacks, manifest.input
        self.knowledge = {k.describe(): k for k in plan.knowledge}
        sites = sorted({case.site for case in cases})
        self.datalists = _datalists(plan, sites)
        size, channels = manifest.input.spatial_size, manifest.input.channels
        self.prior = load_prior(plan.prior, size, channels)
        self.evaluator = Evaluator(self.datalists, manifest.input, self.prior, device=plan.device)

    def attack(self, case: Case, on_progress: ProgressCallback | None) -> list[Row]:
        """Attack, then measure, then write the pictures."""
        record = self._record(case)
        found = self._reconstruct(case, record, on_progress)
        # The attack is over: from here on, and only here, truth may be looked at.
        truth = self.evaluator.truth(case.site)
        rows = self.evaluator.rows(case, found, record.info.defences)
        save_case(self.plan.out, case, rows, found, truth)
        if found.ending == "interrupted":  # to be looked at, but not counted
            raise KeyboardInterrupt
        return rows

    def _record(self, case: Case) -> Record:
        """The record as the attacker gets it: recorded, then the replayed defence."""
        record = read_record(self.plan.records, case.round, case.site)
        if case.defence == NO_DEFENCE:
            return record
        # Not of the attack or its knowledge: all attackers of a seed see the same noise.
        rng = NoiseSource.seeded(case.seed, case.round, case.site, case.defence)
        protected = defence(case.defence)(record.update, rng=rng, global_state=record.global_state)
        arrays = {name: np.asarray(value) for name, value in protected.items()}
        return dataclasses.replace(record, update=arrays)

    def _reconstruct(
        self, case: Case, record: Record, on_progress: ProgressCallback | None
    ) -> Reconstruction:
        kind, settings = self.attacks[case.attack]
        observation = self._observe(case, record)
        prior = None
        if observation.knowledge.prior:
            prior = as_channels(self.prior, observation.image_channels).to(observation.device)
        generator = torch.Generator().manual_seed(case.stream)
        return kind.run(settings, observation, prior, generator=generator, on_progress=on_progress)

    def _observe(self, case: Case, record: Record) -> Observation:
        knowledge = self.knowledge[case.knowledge]
        labels: Tensor | None = None
        if knowledge.labels == "known":
            if (datalist := self.datalists[case.site]) is None:
                raise ValueError(
                    f"Knowledge says that the labels of {case.site} are known, but there is no "
                    "truth list to take them from. Give --truth, or have them inferred."
                )
            labels = torch.tensor([i.label for i in training_items(datalist, case.site)])
        return observe(
            record,
            knowledge,
            device=self.plan.device,
            labels=labels,
            allowed_prefixes=self.plan.allowed_prefixes,
        )


def _check_device(device: str) -> None:
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:  # AssertionError: a torch without CUDA
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"Device {device!r} cannot be used ({reason}): no attack could run. Choose cpu, or a "
            "device that torch sees."
        ) from None


def _datalists(plan: Plan, sites: Sequence[str]) -> dict[str, Path | None]:
    """The truth list of each site; a list that is given must have images for each."""
    if plan.truth is not None and plan.truth.is_file() and len(sites) > 1:
        raise ValueError(
            f"Truth {str(plan.truth)!r} is the list of one site, but {len(sites)} sites are to be "
            f"audited ({', '.join(sites[:9])}): it lacks the others. Name a folder with one list a "
            "site, or choose --site."
        )
    found = {site: find_truth(plan.truth, plan.records, site) for site in sites}
    for site, datalist in found.items():
        if datalist is not None:
            training_items(datalist, site)
    return found
