"""What an audit is to try: every combination of update, attack, defence, knowledge and seed."""

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from medleak.custom.record import RecordError, chosen_updates, list_updates
from medleak.filters.spec import Spec
from medleak.inversion.attacks.registry import settings_of
from medleak.inversion.audit.scope.sampling import Design, Sample, draw
from medleak.inversion.knowledge import Knowledge
from medleak.inversion.membership.assessor import Question
from medleak.inversion.membership.scores.registry import score_of
from medleak.inversion.results.case import AVERAGE, MEMBERSHIP, NO_DEFENCE, Case
from medleak.inversion.results.replays import is_null, replay_of, require_sites
from medleak.inversion.statement import Given


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that decides an audit's results, and where they go.

    Attributes:
        records: Records directory (`medleak.custom.record.find_records`).
        out: Audit directory; one that holds the same audit is gone on with.
        rounds: Rounds to audit; None: all that are recorded.
        sites: Likewise.
        attacks: ``name`` or ``name:key=value,…``; see `settings_of`. After `AVERAGE` the attack
            joins a site's recorded rounds; it has one case a site, at the last round to audit.
        defences: Replayed on the recorded update: `NO_DEFENCE`, or as
            `medleak.inversion.results.replays.replay_of` reads them.
        knowledge: What the attackers know.
        seeds: One run a seed: attack starts and replayed noise depend on it.
        prior: ``gray``, ``phantoms`` or a picture's path.
        truth: A site's datalist, or a folder with one a site; None: look beside the records.
        embedding: Network of IIP (`medleak.inversion.measures.embedding.load_embedding`); None:
            ImageNet's, if it is on this machine.
        neighbours: Nearest neighbours that IIP looks at.
        device: Where attacks run.
        allowed_prefixes: Origins of model factories that the caller trusts beside the usual.
        only: Of the grid, the (site, defence, seed) that are wanted; None: all.
        keep_iterations: Iterations of each attack to keep as pictures; 0: none.
        given: What the auditor says of network, loss, images and schedule.
        perceptual: Measure LPIPS as well: ``alexnet``, or a file with its weights
            (`medleak.inversion.measures.perceptual.load_perceptual`). None: do not.
        question: Whom it is asked about, was it in the updates? None: nobody.
        sample: Of the updates of ``rounds`` and ``sites``, those that were drawn; None: all.
        scores: By which membership scores; after `AVERAGE` one joins a site's rounds as an attack
            does. Used with a question alone.
        shares: By attribute, each site's share of patients that have it: asked beside the attacks,
            whether updates tell it.
    """

    records: Path
    out: Path
    rounds: Sequence[int] | None = None
    sites: Sequence[str] | None = None
    attacks: Sequence[str] = ("row_space",)
    defences: Sequence[str] = (NO_DEFENCE,)
    knowledge: Sequence[Knowledge] = (Knowledge(),)
    seeds: Sequence[int] = (0,)
    prior: str = "gray"
    truth: Path | None = None
    embedding: str | None = None
    neighbours: int = 1
    device: str = "cpu"
    allowed_prefixes: Sequence[str] = ()
    only: frozenset[tuple[str, str, int]] | None = None
    keep_iterations: int = 0
    given: Given = field(default_factory=Given)
    perceptual: str | None = None
    question: Question | None = None
    scores: Sequence[str] = ()
    shares: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    sample: Sample | None = None

    def cases(self) -> list[Case]:
        """All cases, each once, in order of round and site.

        Raises:
            ValueError: A round or site is not recorded, or a defence is unknown or unusable.
        """
        for score in self.scores:
            score_of(score.removeprefix(AVERAGE))
        replays = [replay_of(spec) for spec in self.defences if spec != NO_DEFENCE]
        if (most := max((replay.sites for replay in replays), default=1)) > 1:
            sent = Counter(round for round, _ in list_updates(self.records))
            for round, _ in self.updates():
                require_sites(most, sent[round], round)
        knowledge = [k.describe() for k in self.knowledge]
        attacks = [*self.attacks, *map(_asking, self.scores if self.question else ())]
        grid = (attacks, self.defences, knowledge, self.seeds)
        updates = self.updates()
        last = {site: round for round, site in updates}
        cases = (
            Case(round, site, *combination)
            for round, site in updates
            for combination in itertools.product(*grid)
        )
        # Without noise that is replayed nothing of membership depends on the seed; and noise alone
        # is what attacks are compared with.
        cases = (
            case
            for case in cases
            if case.score is None
            or (
                not is_null(case.defence)
                and (case.defence != NO_DEFENCE or case.seed == self.seeds[0])
            )
        )
        return list(
            dict.fromkeys(
                case
                for case in cases
                if (not case.averages or case.round == last[case.site])
                and (self.only is None or (case.site, case.defence, case.seed) in self.only)
            )
        )

    def updates(self) -> list[tuple[int, str]]:
        """(round, site) of the recorded updates that the plan is about, in order.

        Raises:
            ValueError: A round or site is not recorded.
        """
        chosen = self.drawn_from()
        if self.sample is None:
            return chosen
        return [update for update in chosen if update in self.sample.updates]

    def drawn_from(self) -> list[tuple[int, str]]:
        """As `updates`, those included that a sample leaves out."""
        return chosen_updates(self.records, self.rounds, self.sites)

    def sampled(self, design: Design) -> "Plan":
        """The same plan of a sample of its updates.

        Raises:
            ValueError: There are too few, see `medleak.inversion.audit.scope.sampling.draw`.
        """

        def size(round: int, site: str) -> int | None:
            with suppress(RecordError):  # refused by name when its turn comes
                return self.given.info(self.records, round, site).n_images
            return None

        return replace(self, sample=draw(self.updates(), size, design))

    def absolute(self) -> "Plan":
        """The same for processes that may be in another folder."""
        base, prior, question = self.given.base, Path(self.prior), self.question
        if question is not None:
            names = ("candidates", "nonmembers", "truth")
            given = {name: getattr(question, name) for name in names}
            question = replace(
                question, **{n: path and path.absolute() for n, path in given.items()}
            )
        return replace(
            self,
            records=self.records.absolute(),
            out=self.out.absolute(),
            prior=str(prior.absolute()) if prior.is_file() else self.prior,
            question=question,
            given=replace(self.given, base=None if base is None else base.absolute()),
        )


def _asking(score: str) -> str:
    """A score as a case's attack."""
    bare = score.removeprefix(AVERAGE)
    return f"{AVERAGE * (bare != score)}{MEMBERSHIP}{bare}"


def knowledge_of(text: str) -> Knowledge:
    """Attacker knowledge from ``key=value,…``; ``all`` or nothing: the default.

    Raises:
        ValueError: See `settings_of`.
    """
    given = "" if text.strip() == "all" else text
    return settings_of(Knowledge, Spec.parse(f"knowledge:{given}").args, "Knowledge")
