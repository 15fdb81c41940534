"""A record as it grows: models on their way, and the updates that answer them.

What the server's recorder and a swarm's have in common. Nothing here knows who calls it.
"""

import math
import platform
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from nvflare.apis.dxo import DXO, from_shareable
from nvflare.apis.shareable import Shareable
from pydantic import ValidationError

from medleak.custom import record
from medleak.custom.flare.received import control_of, encrypted, told_by_controls, update_of
from medleak.custom.record import (
    LeftOut,
    Manifest,
    RecordError,
    UpdateInfo,
    begun_now,
    check_site,
)
from medleak.custom.record.compression import require_zstandard
from medleak.custom.record.declared import declared_info, hides_schedule
from medleak.custom.record.keeping.budget import Need
from medleak.custom.record.sent_models import SentModel, SentModels
from medleak.custom.record.tensors import as_arrays
from medleak.custom.record.texts import first_error
from medleak.filters.privacy.controls import CONTROLS, SERVERS
from medleak.filters.update import DECLARED

_LEDGER = "medleak_ledger"
_PACKAGES = ("medleak", "nvflare", "torch", "torchvision", "monai", "numpy", "safetensors")


class Recording:
    """One record, written as models go out and updates come; callers see to it that one at a time.

    What the job or a site does not say is recorded as unknown: whoever audits can say it then.
    """

    def __init__(
        self,
        declaration: Mapping[str, Any],
        *,
        every_n_rounds: int = 1,
        sites: list[str] | None = None,
        disk_budget_mb: float | None = None,
        compress: bool = False,
    ) -> None:
        """Check the settings; nothing is written.

        Args:
            declaration: ``model``, ``task``, ``input`` and ``class_names`` as a manifest has them.
            every_n_rounds, sites, disk_budget_mb, compress: See
                `medleak.custom.flare.component.RecordingComponent`.

        Raises:
            ValueError: A setting is unusable.
        """
        if every_n_rounds < 1:
            raise ValueError(f"every_n_rounds must be at least 1, got {every_n_rounds}.")
        if disk_budget_mb is not None and not 0 < disk_budget_mb < math.inf:
            raise ValueError(f"disk_budget_mb must be above 0 or null, got {disk_budget_mb}.")
        self._declaration = declaration
        self._every_n_rounds, self._sites = every_n_rounds, sites
        self._disk_budget_mb, self._compress = disk_budget_mb, compress
        self._check_declaration()
        self._manifest: Manifest | None = None
        self._root: Path | None = None
        self._sent = SentModels()
        self._bytes = 0
        self._foretold = disk_budget_mb is None

    @property
    def root(self) -> Path | None:
        """Where the record lies; None before it is begun."""
        return self._root

    def begin(self, root: Path, job: str) -> None:
        """Write the manifest of a new record to ``root``.

        Raises:
            RecordError: The disk refuses it.
        """
        if self._compress:
            require_zstandard("The recorder's compress=True")
        self._root = root
        self._write_manifest(
            Manifest.model_validate(
                {
                    "job": job,
                    "created": begun_now(),
                    **self._declaration,
                    "versions": {p: version(p) for p in _PACKAGES}
                    | {"python": platform.python_version()},
                }
            )
        )

    def silent(self, why: str) -> None:
        """Say in the manifest why nothing came; nowhere if the record was never begun."""
        if self._manifest is not None:
            self._write_manifest(self._manifest.model_copy(update={"silence": why}))

    def sent_to(self, site: str, round: int, dxo: DXO) -> None:
        """``site`` was sent the model in ``dxo`` in ``round``.

        Raises:
            RecordError: It cannot be recorded.
        """
        where = f"The model of round {round}"
        sent = {} if encrypted(dxo) else as_arrays(where, dxo.data)
        self._sent.note(site, round, sent, control_of(where, dxo.meta, SERVERS))

    def foretell(self, sites: set[str], rounds: Any) -> str:
        """Once, when the first model has gone out: what the budget will leave out, or nothing."""
        latest = self._sent.latest
        if self._foretold or latest is None or self._disk_budget_mb is None:
            return ""
        self._foretold = True
        kept = sites if self._sites is None else sites & set(self._sites)
        if not kept or not isinstance(rounds, int) or rounds < 1:
            return ""  # the workflow does not say how long it will be
        if not (model_bytes := _nbytes(latest.arrays)):
            return ""  # encrypted: of that nothing is recorded
        need = Need(
            model_bytes=model_bytes,
            sites=len(kept),
            rounds=rounds,
            every_n_rounds=self._every_n_rounds,
        )
        said = need.left_out(self._disk_budget_mb * 1e6)
        return f"disk_budget_mb={self._disk_budget_mb:g}: {said}" if said else ""

    def received(
        self,
        site: str,
        round: int | None,
        shareable: Shareable,
        *,
        say: Callable[[str], None],
        warn: Callable[[str], None],
    ) -> None:
        """Record the update of ``site`` that answers the model of ``round``.

        Args:
            say, warn: What is to be in a log.

        Raises:
            RecordError: The update, or the model that it belongs to, cannot be recorded.
        """
        if self._root is None:
            raise RecordError("The run was never begun: there is no folder to record into.")
        site = check_site(site)
        sent = self._sent.answered(site, round)
        round = sent.round
        dxo = from_shareable(shareable)
        schedule, defences = dxo.get_meta_prop("hp"), dxo.get_meta_prop(DECLARED)
        if reason := encrypted(dxo) or hides_schedule(defences, schedule):
            self.leave_out(round, site, reason)
            say(f"Round {round} of {site}: {reason}")
            return
        where = f"Round {round}, site {site}"
        update, controls = update_of(where, dxo, sent), control_of(where, dxo.meta, CONTROLS)
        if reason := self._reason_to_leave_out(site, sent, update, controls):
            self.leave_out(round, site, reason)
            return
        info, unusable = declared_info(
            round, site, schedule, defences=defences, ledger=dxo.get_meta_prop(_LEDGER)
        )
        if unusable:
            warn(
                f"Round {round} of {site}: of its schedule is recorded as unknown what no training "
                f"has: {'; '.join(unusable)}"
            )
        self._write(info, sent, update, controls)
        say(f"Recorded round {round} of {site} in {self._root}")

    def answer(
        self,
        site: str,
        round: int,
        model: Mapping[str, np.ndarray],
        shareable: Shareable,
        *,
        say: Callable[[str], None],
        warn: Callable[[str], None],
    ) -> None:
        """Record an update of ``site`` to ``model``, which went unseen; see `received`."""
        self._sent.note(site, round, dict(model))
        self.received(site, round, shareable, say=say, warn=warn)

    def leave_out(self, round: int, site: str, reason: str) -> None:
        """Say in the manifest what is not recorded, and why."""
        if self._manifest is None:
            raise RecordError("The run was never begun: there is no manifest to note this in.")
        everything = (*self._manifest.left_out, LeftOut(round=round, site=site, reason=reason))
        self._write_manifest(self._manifest.model_copy(update={"left_out": everything}))

    def _write_manifest(self, manifest: Manifest) -> None:
        if self._root is None:
            raise RecordError("The run was never begun: there is no folder to record into.")
        record.write_manifest(self._root, manifest)
        self._manifest = manifest

    def _check_declaration(self) -> None:
        try:
            Manifest.model_validate({"job": "", "created": "", **self._declaration})
        except ValidationError as error:
            raise ValueError(
                f"The recorder cannot use {first_error(error)}. Correct it, or leave it out: what "
                "is not known can be said when the record is audited."
            ) from None

    def _write(
        self,
        info: UpdateInfo,
        sent: SentModel,
        update: Mapping[str, Any],
        controls: Mapping[str, Any],
    ) -> None:
        """All that came, and the model once."""
        if self._root is None:
            raise RecordError("The run was never begun: there is no folder to record into.")
        if sent.digest is None:
            sent.digest = record.write_global(
                self._root, sent.round, sent.arrays, several=True, compress=self._compress
            )
            self._bytes += _nbytes(sent.arrays)
        beside = {CONTROLS: controls} if controls else {}
        record.write_update(
            self._root, info, sent.digest, update, beside=beside, compress=self._compress
        )
        self._bytes += _nbytes(update) + _nbytes(controls)
        self._write_told(self._root, info, sent, update, controls)

    def _write_told(
        self,
        root: Path,
        info: UpdateInfo,
        sent: SentModel,
        update: Mapping[str, Any],
        controls: Mapping[str, Any],
    ) -> None:
        """Where control variates tell another update than the one that came, record that as well.

        So an update that was protected, with its control in clear beside it, is attacked in clear.
        """
        if not controls or sent.digest is None:
            return
        told = told_by_controls(update, controls, sent, info.model_dump())
        if told is None:
            return
        other = info.model_copy(update={"site": f"{info.site}.{CONTROLS}", "defences": ()})
        if told:
            record.write_update(root, other, sent.digest, told, compress=self._compress)
            self._bytes += _nbytes(told)
        else:
            reason = "it tells another update than the site sent, of unknown size: give hp"
            self.leave_out(info.round, other.site, reason)

    def _reason_to_leave_out(
        self,
        site: str,
        sent: SentModel,
        update: Mapping[str, Any],
        controls: Mapping[str, Any],
    ) -> str | None:
        if sent.round % self._every_n_rounds:
            return f"every_n_rounds={self._every_n_rounds}"
        if self._sites is not None and site not in self._sites:
            return "sites"
        if self._disk_budget_mb is not None:
            # Controls may tell another update, which is recorded as well and is as large.
            more = _nbytes(update) + 2 * _nbytes(controls)
            more += _nbytes(sent.arrays) if sent.digest is None else 0
            if self._bytes + more > self._disk_budget_mb * 1e6:
                return f"disk_budget_mb={self._disk_budget_mb:g}"
        return None


def _nbytes(arrays: Mapping[str, np.ndarray]) -> int:
    return sum(value.nbytes for value in arrays.values())
