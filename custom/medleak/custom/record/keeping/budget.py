"""How much disk a record will need, and what a budget will leave out, before the run."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """The disk that the tensors of a run's record take; all else is some kB an update.

    Attributes:
        model_bytes: Of the model, and of an update: all its tensors, as stored.
        sites: That answer in each round.
        rounds: Of the run.
        every_n_rounds: The recorder keeps rounds 0, n, 2n, …
    """

    model_bytes: int
    sites: int
    rounds: int
    every_n_rounds: int = 1

    @property
    def kept_rounds(self) -> int:
        """Rounds that are recorded if the disk has room."""
        return -(-self.rounds // self.every_n_rounds)

    @property
    def round_bytes(self) -> int:
        """Of one recorded round: the model once, and an update a site."""
        return self.model_bytes * (self.sites + 1)

    @property
    def total_bytes(self) -> int:
        """Of all."""
        return self.kept_rounds * self.round_bytes

    def fitting(self, budget: float) -> tuple[int, int]:
        """How many whole rounds, and updates, fit into ``budget`` bytes; they are the first."""
        rounds = min(int(budget // self.round_bytes), self.kept_rounds)
        rest = budget - rounds * self.round_bytes - self.model_bytes
        more = 0 if rounds == self.kept_rounds else int(rest // self.model_bytes)
        return rounds, rounds * self.sites + max(more, 0)

    def spread(self, budget: float) -> int | None:
        """The least ``every_n_rounds`` with which ``budget`` holds; None: not one round fits."""
        whole = int(budget // self.round_bytes)
        if not whole:
            return None
        return next(n for n in range(1, self.rounds + 1) if -(-self.rounds // n) <= whole)

    def left_out(self, budget: float) -> str:
        """What will be left out, and what to do; empty where all fits."""
        _, updates = self.fitting(budget)
        asked = self.kept_rounds * self.sites
        if updates >= asked:
            return ""
        gone = asked - updates
        first = updates // self.sites * self.every_n_rounds
        n = self.spread(budget)
        remedy = (
            "Not one round fits: keep fewer sites, or a larger budget."
            if n is None
            else f"every_n_rounds={n} would keep rounds of the whole run instead."
        )
        return (
            f"{gone} of {asked} updates will be left out, those from round {first} on: the record "
            f"would take {self.total_bytes / 1e9:.3g} GB of the {budget / 1e9:.3g} GB allowed. "
            f"{remedy}"
        )
