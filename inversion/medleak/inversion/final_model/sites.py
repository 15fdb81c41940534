"""What the sites' own lists say: who was in the model, and whom nobody had; to measure only."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from medleak.custom.data.datalist import load_datalist
from medleak.custom.data.transforms import load_images
from medleak.custom.record import (
    RecordError,
    UpdateInfo,
    check_site,
    list_updates,
    read_info,
    read_manifest,
)
from medleak.inversion.images.truth import find_truth
from medleak.inversion.membership import lists
from medleak.inversion.membership.assessment import Group
from medleak.inversion.membership.assessor import MIRRORS


@dataclass(frozen=True, eq=False, kw_only=True)
class Sites:
    """The sites of a run, those that left no update in the record too, and their lists.

    Attributes:
        datalists: Of each; None where it is not known.
        infos: What each said of its training.
        picture: As the network takes images.
    """

    datalists: Mapping[str, Path | None]
    infos: Mapping[str, tuple[UpdateInfo, ...]]
    picture: lists.Picture

    @classmethod
    def of(cls, records: Path, truth: Path | None, picture: lists.Picture) -> "Sites":
        """Those of ``records``, with lists by `find_truth`.

        Raises:
            ValueError: ``truth`` lacks a site's list, or is one list for several sites.
        """
        infos: dict[str, list[UpdateInfo]] = {}
        for round, site in list_updates(records):
            of = infos.setdefault(site, [])
            try:
                of.append(read_info(records, round, site))
            except RecordError:  # what a damaged update said is not known
                continue
        recorded = tuple(infos)
        for left in read_manifest(records).left_out:
            infos.setdefault(left.site, [])
        if truth is not None and truth.is_file() and len(infos) > 1:
            raise ValueError(
                f"--truth {truth} is one list, and {len(infos)} sites took part: images of the "
                "others would be taken for nobody's. Name a folder with <site>.json of every site."
            )
        datalists = {site: find_truth(truth, records, site) for site in recorded}
        for site in infos.keys() - datalists.keys():
            datalists[site] = None
            with suppress(ValueError):  # not even a name, or no list: nobody is known to be out
                datalists[site] = find_truth(truth, records, check_site(site))
        return cls(
            datalists=datalists,
            infos={site: tuple(of) for site, of in infos.items()},
            picture=picture,
        )

    @property
    def known(self) -> tuple[Path, ...] | None:
        """Everybody's list; None where one is not known: anybody may have been in."""
        found = tuple(path for path in self.datalists.values() if path is not None)
        return found if found and len(found) == len(self.datalists) else None

    @cached_property
    def trained(self) -> set[str] | None:
        """Fingerprints of what all sites together trained on; None as of `known`."""
        if self.known is None:
            return None
        return set().union(*(lists.trained_on(path, self.picture) for path in self.known))

    @cached_property
    def doubt(self) -> str:
        """What speaks against the lists being those that the sites trained with; empty: nothing."""
        found = []
        for site, path in self.datalists.items():
            said = {i.n_images for i in self.infos[site] if i.n_images is not None}
            if path is None or not said:
                continue
            listed = len(load_datalist(path)["training"])
            if listed not in said:
                told = " or ".join(map(str, sorted(said)))
                found.append(
                    f"{site} trained on {told} images by the record, its list has {listed}"
                )
        return "; ".join(found)

    @property
    def views_known(self) -> bool:
        """Whether every site said how training changed images: not, or by mirroring some."""
        views = [i.augmentation for of in self.infos.values() for i in of]
        silent = not all(self.infos.values())
        return not silent and all(v is not None and set(v) <= MIRRORS for v in views)

    def training_images(self) -> Tensor:
        """[M, C, ...] of all sites whose lists are known."""
        size, channels = self.picture
        return torch.cat(
            [
                load_images(
                    load_datalist(path)["training"],
                    spatial_size=size,
                    channels=channels,
                    section="training",
                )[0]
                for path in self.known or ()
            ]
        )

    def held_out(self) -> Group | None:
        """What sites held out, and no site trained on, each once; None where that is not known."""
        if self.trained is None or self.known is None:
            return None
        held = [g for path in self.known if (g := lists.held_out(path, self.picture)) is not None]
        if not held:
            return None
        whole = Group(
            images=torch.cat([g.images for g in held]),
            labels=torch.cat([t for g in held if (t := g.labels) is not None]),
            patients=tuple(p for g in held for p in g.patients),
        )
        seen, kept = set(self.trained), []
        for k, mark in enumerate(lists.fingerprints(whole.images)):
            if mark not in seen:
                seen.add(mark)
                kept.append(k)
        return whole.take(kept) if kept else None
