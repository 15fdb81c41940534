"""From a reconstruction to rows of figures: the one place where truth meets an attack's result."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from medleak.custom.data.datalist import Item
from medleak.custom.record import InputSpec
from medleak.filters.registry import declared_text
from medleak.inversion.images.truth import Truth, load_truth, training_items
from medleak.inversion.measures import nulls, similarity
from medleak.inversion.measures.embedding import Embedding, EmbeddingError, load_embedding
from medleak.inversion.measures.gallery import Gallery, build_gallery
from medleak.inversion.measures.iip import identify, seen_cosines
from medleak.inversion.measures.perceptual import MIN_SIDE_PX, Perceptual
from medleak.inversion.measures.seen import Matches, Nulls, Pairs, pair
from medleak.inversion.measures.similarity import as_channels
from medleak.inversion.reconstruction import Reconstruction
from medleak.inversion.results.case import NO_DEFENCE, Case
from medleak.inversion.results.rows import Row, six_digits

HELD_PIXELS = 2**26
"""Of sites that were measured: while they have no more, the next one's are read beside them. Cases
of a hundred sites end in any order, and each would else read its site's images anew."""

_NOT_EMBEDDED = (
    "the networks that embed are of gray and colour pictures, not of volumes or other channels"
)


@dataclass(frozen=True, slots=True, eq=False)
class _Site:
    """A site's truth, and what does not depend on any attack: figures [M] of each image."""

    truth: Truth
    patients: Sequence[int]
    baselines: Mapping[str, Tensor]
    searched: dict[int, Nulls] = field(default_factory=dict)
    """The same under augmentation, by the place of the image, of those that asked for it."""


class Evaluator:
    """Measures reconstructions of one audit against the sites' images.

    Built once an audit. Images are read at the first use: the gallery once, the truth of a site
    when it is measured. Of the latter so few are held (`HELD_PIXELS`) that memory does not grow
    with the number of sites.
    """

    def __init__(
        self,
        datalists: Mapping[str, Path | None],
        input: InputSpec,
        prior: Tensor,
        *,
        embedding: str | None = None,
        k: int = 1,
        perceptual: Perceptual | None = None,
        device: str | torch.device = "cpu",
    ) -> None:
        """Prepare to measure; no image is read yet.

        Args:
            datalists: Every client of the federation (not only the attacked ones: all their images
                are the gallery) to its list; None where its images are not known.
            input: Size and channels of the record's images.
            prior: [1, C, H, W] in [0, 1], for SSIM(T, P) and RDLV.
            embedding: See `medleak.inversion.measures.embedding.load_embedding`. None: ImageNet's
                if it is on this machine, else no IIP, and every row says why.
            k: Nearest neighbours that IIP looks at.
            perceptual: LPIPS, see `medleak.inversion.measures.perceptual.load_perceptual`; images
                of less than 32 px have none. None: it is not computed.
            device: Where figures are computed.

        Raises:
            ValueError: The prior is not of the size or channels of the record's images, or ``k`` is
                below 1.
            EmbeddingError: ``embedding`` is given and cannot be used.
        """
        expected = (1, input.channels, *input.spatial_size)
        if tuple(prior.shape) != expected:
            raise ValueError(
                f"The prior has shape {tuple(prior.shape)}, the record's images {expected}: RDLV "
                "compares them pixel by pixel. Load it with "
                "`medleak.inversion.images.prior.load_prior`."
            )
        if k < 1:
            raise ValueError(f"k-IIP looks at k neighbours, at least 1, not at {k}.")
        self._datalists, self._input, self._prior = dict(datalists), input, prior
        self._k, self._perceptual, self._device = k, perceptual, torch.device(device)
        self._embedding: Embedding | None = None
        self._no_embedding = ""
        try:
            if len(input.spatial_size) != 2 or input.channels not in (1, 3):
                raise EmbeddingError(_NOT_EMBEDDED)
            self._embedding = load_embedding(embedding, self._device)
        except EmbeddingError as error:
            if embedding is not None:
                raise
            self._no_embedding = str(error)
        self._sites: OrderedDict[str, _Site | None] = OrderedDict()
        self._last_seen: dict[str, Tensor] = {}

    def truth(self, site: str) -> Truth | None:
        """The training images of ``site``; None where they are not known.

        Raises:
            DataError: The list or an image cannot be read.
            ValueError: The list has no training images, or is not known to this evaluator.
        """
        found = self._site(site)
        return None if found is None else found.truth

    def rows(
        self,
        case: Case,
        found: Reconstruction,
        declared: Sequence[Mapping[str, Any]],
        matches: Matches | None = None,
    ) -> list[Row]:
        """Measure ``found`` against the site's images, each assigned to one of them.

        Args:
            case: What was attacked.
            found: Images [N, C, H, W]; see `similarity.as_channels` where the truth has other
                channels.
            declared: Defences as the site declared them.
            matches: See `medleak.inversion.measures.seen.search`; None: it is made here.

        Returns:
            A row a reconstruction; without figures for those that no image was left for, and where
            the truth is not known.

        Raises:
            ValueError: Images and truth cannot be compared.
            DataError: An image cannot be read.
        """
        rows = _bare_rows(case, found, declared)
        site = self._site(case.site)
        if site is None:
            return rows
        truth = site.truth
        images = as_channels(found.images, truth.images.shape[1])
        pairs = self._pairs(case.site, site, images, found.stuck, matches)
        figures = self._figures(site, pairs, images)
        for p, (k, t) in enumerate(torch.stack([pairs.reconstruction, pairs.truth], 1).tolist()):
            turned = pairs.seen.get(k)
            rows[k] = replace(
                rows[k],
                truth_image=truth.names[t],
                truth_label=int(truth.labels[t]),
                truth_picture=truth_picture(case.site, t, case if turned else None),
                patient=site.patients[t],
                transformation=None if turned is None else str(turned.transformation),
                ssim_listed=six_digits(pairs.listed[p]) if pairs.searched else None,
                site_images=len(truth.images),
                gallery=len(self.gallery),
                **{name: six_digits(values[p]) for name, values in figures.items()},
            )
        self._last_seen = {rows[k].truth_picture or "": s.image for k, s in pairs.seen.items()}
        return self._identified(case.site, rows, pairs, images)

    def _pairs(
        self, name: str, site: _Site, images: Tensor, stuck: bool, matches: Matches | None
    ) -> Pairs:
        def searched(t: int) -> Nulls:
            if t not in site.searched:
                truth, label = site.truth.images[t], int(site.truth.labels[t])
                site.searched[t] = nulls.searched(
                    self.gallery, name, truth, label, self._prior, self._input
                )
            return site.searched[t]

        return pair(
            images.to(self._device),
            site.truth.images.to(self._device),
            _best(site.baselines),
            searched,
            stuck=stuck,
            matches=matches,
        )

    def seen(self, picture: str) -> Tensor | None:
        """The image [C, H, W] of a ``truth_picture`` of the last `rows`, as the network saw it.

        None where that picture is the listed image.
        """
        return self._last_seen.get(picture)

    def embed(self, images: Tensor) -> Tensor | None:
        """Features [N, 512] of images [N, C, H, W], say for t-SNE; None without a network."""
        return None if self._embedding is None else self._embedding(images)

    def _identified(self, site: str, rows: list[Row], pairs: Pairs, images: Tensor) -> list[Row]:
        if self._embedding is None:
            return [replace(row, embedding=f"none: {self._no_embedding}") for row in rows]
        features = self._embedding(images[pairs.reconstruction])
        truths, order = pairs.truth.tolist(), pairs.reconstruction.tolist()
        turned = {
            p: seen_cosines(
                self.gallery, self._embedding, site, truths[p], images[k], features[p], self._input
            )
            for p, k in enumerate(order)
            if k in pairs.seen
        }
        found = identify(self.gallery, site, features, truths, self._k, turned)
        for p, k in enumerate(order):
            rows[k] = replace(
                rows[k],
                cosine=six_digits(found.cosine[p]),
                iip_match=found.match[p],
                iip_site_match=found.site_match[p],
                neighbours=found.neighbours[p],
                class_mates=found.class_mates[p],
                embedding=self._embedding.name,
            )
        return rows

    def _figures(self, site: _Site, pairs: Pairs, images: Tensor) -> dict[str, Tensor]:
        order = pairs.reconstruction.tolist()
        true = site.truth.images[pairs.truth].clone()
        baselines = {name: values[pairs.truth].clone() for name, values in site.baselines.items()}
        for p, k in enumerate(order):
            if (seen := pairs.seen.get(k)) is not None:
                true[p] = seen.image
                for name in ("ssim_prior", "ssim_class_mean", "ssim_nonmember", "ssim_coarse"):
                    baselines[name][p] = seen.nulls.get(name, torch.nan)
                baselines["psnr_prior"][p] = similarity.psnr(seen.image[None], self._prior)[0]
        true = true.to(self._device)
        best = images[pairs.reconstruction].to(self._device)
        learned = {}
        flat = true.dim() == 4 and true.shape[1] in (1, 3)
        if self._perceptual is not None and flat and min(true.shape[2:]) >= MIN_SIDE_PX:
            learned["lpips"] = self._perceptual(true, best)
        return {
            **learned,
            "ssim": pairs.ssim,
            "ssim_tmi": similarity.ssim_tmi(true, best),
            "psnr": similarity.psnr(true, best),
            "mse": similarity.mse(true, best),
            "rdlv": similarity.rdlv(pairs.ssim, baselines["ssim_prior"]),
            **baselines,
        }

    def _site(self, site: str) -> _Site | None:
        if site not in self._sites:
            while self._pixels() > HELD_PIXELS:
                self._sites.popitem(last=False)
            self._sites[site] = self._load(site)
        self._sites.move_to_end(site)
        return self._sites[site]

    def _pixels(self) -> int:
        return sum(site.truth.images.numel() for site in self._sites.values() if site is not None)

    def _load(self, site: str) -> _Site | None:
        if site not in self._datalists:
            raise ValueError(
                f"The evaluator knows no list of {site}, only of {', '.join(self._datalists)}: "
                "build it with the lists of all clients, None where there is none."
            )
        path = self._datalists[site]
        if path is None:
            return None
        items = training_items(path, site)
        truth = load_truth(items, self._input.spatial_size, self._input.channels)
        prior = self._prior.expand_as(truth.images)
        baselines = {
            "ssim_prior": similarity.ssim(truth.images, prior),
            "psnr_prior": similarity.psnr(truth.images, prior),
            "ssim_class_mean": nulls.ssim_of_class_mean(
                self.gallery, site, truth.images, truth.labels
            ),
            "ssim_nonmember": nulls.ssim_of_nonmember(
                self.gallery, site, truth.images, self._input
            ),
        }
        # Where no other image of the kind is at hand.
        bare = baselines["ssim_nonmember"].isnan()
        baselines["ssim_coarse"] = torch.where(bare, nulls.ssim_of_coarse(truth.images), torch.nan)
        return _Site(truth, _numbered(items), baselines)

    @cached_property
    def gallery(self) -> Gallery:
        """All training and validation images of all clients; read at the first use."""
        return build_gallery(self._datalists, self._input, self._embedding)


def truth_picture(site: str, index: int, seen_in: Case | None = None) -> str:
    """Where an audit directory keeps training image ``index`` of ``site``.

    With ``seen_in``: as the network saw it, by what came back in that case.
    """
    as_seen = "" if seen_in is None else f"_seen_{seen_in.name}"
    return f"images/truth_{site}_{index}{as_seen}.png"


def _best(baselines: Mapping[str, Tensor]) -> Tensor:
    """[M], the highest of the nulls that each truth has."""
    known = [baselines[name] for name in _LISTED_NULLS]
    return torch.stack(known).nan_to_num(-1.0).amax(0)


_LISTED_NULLS = ("ssim_prior", "ssim_class_mean", "ssim_nonmember")


def _bare_rows(
    case: Case, found: Reconstruction, declared: Sequence[Mapping[str, Any]]
) -> list[Row]:
    return [
        Row(
            round=case.round,
            site=case.site,
            attack=case.attack,
            defence=case.defence,
            declared=declared_text(declared) or NO_DEFENCE,
            knowledge=case.knowledge,
            seed=case.seed,
            reconstruction=k,
            label=None if found.labels is None else int(found.labels[k]),
            seconds=round(found.seconds, 3),
            iterations=found.iterations,
            attempts=found.attempts,
            stuck=found.stuck,
            losses=_listed(found.losses),
            start_losses=_listed(found.start_losses),
            picture=f"images/{case.name}_{k}.png",
        )
        for k in range(len(found.images))
    ]


def _listed(losses: Mapping[str, float]) -> str:
    return " ".join(f"{name}={value:.3g}" for name, value in losses.items())


def _numbered(items: Sequence[Item]) -> list[int]:
    """The patient of each item as a number: a list may hold ids, and no result may."""
    numbers: dict[str, int] = {}
    return [numbers.setdefault(item.patient, len(numbers)) for item in items]
