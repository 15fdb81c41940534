"""Which model each site was sent: one for all in FedAvg, one each where a model is passed on."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from medleak.custom.record.tensors import RecordError


@dataclass(slots=True, eq=False)
class SentModel:
    """A model on its way, its SHA-256 once it is on disk, and what was sent beside it."""

    round: int
    arrays: dict[str, np.ndarray]
    digest: str | None = None
    beside: Mapping[str, np.ndarray] = field(default_factory=dict)


class SentModels:
    """The models that sites have not answered yet; equal ones are held once."""

    def __init__(self) -> None:
        """None was sent."""
        self._latest: SentModel | None = None
        self._of_site: dict[str, SentModel] = {}

    @property
    def latest(self) -> SentModel | None:
        """The model that was sent last; None before the first."""
        return self._latest

    def note(
        self,
        site: str,
        round: int,
        arrays: dict[str, np.ndarray],
        beside: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        """``site`` is sent ``arrays`` in ``round``; all sites of a model are sent one ``beside``.

        Raises:
            RecordError: It was sent another model in the same round, and may answer either.
        """
        before = self._of_site.get(site)
        known = [m for m in (self._latest, *self._of_site.values()) if m and m.round == round]
        sent = next((m for m in known if _same(arrays, m.arrays)), None)
        if before is not None and before.round == round and sent is not before:
            raise RecordError(
                f"Site {site!r} was sent different models in round {round}: which of them its "
                "update belongs to is not known."
            )
        self._latest = self._of_site[site] = sent or SentModel(round, arrays, beside=beside or {})

    def answered(self, site: str, round: int | None) -> SentModel:
        """The model that the update of ``site`` in ``round`` belongs to.

        Raises:
            RecordError: It was sent none in that round.
        """
        sent = self._of_site.get(site)
        if sent is None or sent.round != round:
            last = "none" if sent is None else f"that of round {sent.round}"
            raise RecordError(
                f"An update of {site} for round {round} does not belong to the model that it was "
                f"last sent ({last}): no attack could be judged on it."
            )
        return sent


def _same(a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray]) -> bool:
    return a.keys() == b.keys() and all(
        np.shares_memory(a[k], b[k]) or np.array_equal(a[k], b[k]) for k in a
    )
