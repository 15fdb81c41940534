"""Which images a site trains, validates and tests on, decided once a run and kept on its disk."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from medleak.custom import phantoms
from medleak.custom.data.datalist import (
    DATALIST,
    DataError,
    Item,
    load_datalist,
    read_datalist,
    save_datalist,
)
from medleak.custom.data.environment import DATA_VARIABLE, path_variable
from medleak.custom.data.folders.classes import read_folders
from medleak.custom.data.masks import read_masked
from medleak.custom.datasets.prepare import check_patients, prepared_lists
from medleak.custom.sites.split import (
    TMI_TABLE_II,
    Site,
    images_needed,
    largest_scale,
    scaled,
    split,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a site's images come from; the first that is given counts.

    Attributes:
        dataset_json: The site's own decathlon-style datalist (a real federation).
        data_root: What ``medleak data`` prepared, or a folder-per-class set, split over the sites
            of the table (a simulated one); also what relative paths of ``dataset_json`` start
            from. None: phantoms.
        table: The simulated sites and their numbers of images.
        classes: Class names, label k is the k-th.
        scale: Share of the table's numbers of images; None: 1/8 for phantoms, for a folder the
            largest that it allows.
        modality: What phantoms show: a key of `phantoms.MODALITIES`.
        masks: Items carry masks for segmentation: ``data_root`` has ``images/`` and ``masks/`` (see
            `masks.read_masked`), the datalist names them, phantoms come with them.
        spatial_size: Height and width of the phantoms.
        seed: Of the split and the phantoms.
    """

    classes: Sequence[str]
    table: Sequence[Site] = TMI_TABLE_II
    dataset_json: Path | None = None
    data_root: Path | None = None
    scale: float | None = None
    modality: str = "cxr"
    masks: bool = False
    spatial_size: tuple[int, int] = (64, 64)
    seed: int = 0


PHANTOM_SCALE = 1 / 8


def site_lists(source: Source, site: str, run_dir: Path) -> dict[str, list[Item]]:
    """The lists ``training``, ``validation`` and ``test`` of ``site``, with absolute paths.

    The first call in a run decides and writes ``run_dir/datalist.json``; later calls, and audits of
    a simulated run, read it. A simulated site draws its phantoms at that time, into ``run_dir``.

    Raises:
        DataError: The data cannot be used as they are, or have nothing for ``site``.
    """
    kept = run_dir / DATALIST
    if kept.exists():
        return load_datalist(kept, num_classes=len(source.classes))
    lists = _decide(source, site, run_dir)
    save_datalist(kept, lists)
    return lists


def _decide(source: Source, site: str, run_dir: Path) -> dict[str, list[Item]]:
    if source.dataset_json is not None:
        listed = read_datalist(
            source.dataset_json, data_root=source.data_root, num_classes=len(source.classes)
        )
        for reason, n in listed.left_out.items():
            logging.getLogger("medleak").warning("%s: not used: %d %s", site, n, reason)
        check_patients({site: listed.lists})
        return listed.lists
    data_root = source.data_root or path_variable(DATA_VARIABLE)
    if data_root is not None:
        prepared = prepared_lists(Path(data_root), site, source.classes)
        if prepared is not None:
            return prepared
        read = read_masked if source.masks else read_folders
        items, _ = read(data_root, source.classes)
        scale = source.scale or largest_scale(source.table, items, source.seed)
        return _share(items, scale, site, source, data_root.resolve())
    return _phantoms(source, site, run_dir)


def _phantoms(source: Source, site: str, run_dir: Path) -> dict[str, list[Item]]:
    """The phantoms of ``site``, drawn below ``run_dir``."""
    modality = phantoms.MODALITIES.get(source.modality)
    if modality is None:
        raise DataError(
            f"There are no phantoms of modality {source.modality!r}: nothing could be drawn. Use "
            f"one of {', '.join(phantoms.MODALITIES)}."
        )
    if not set(source.classes) <= set(modality.classes):
        raise DataError(
            f"There are {source.modality} phantoms of {list(modality.classes)}, not of "
            f"{list(source.classes)}. Name your data: {DATA_VARIABLE}=/path/to/folders, or "
            "--dataset_json."
        )
    if source.masks and not modality.masks:
        raise DataError(
            f"{source.modality} phantoms have no masks: a segmentation cannot learn from them. Use "
            f"one of {', '.join(n for n, m in phantoms.MODALITIES.items() if m.masks)}, or name "
            f"your data by {DATA_VARIABLE}."
        )
    scale = source.scale or PHANTOM_SCALE
    table = scaled(source.table, scale, len(source.classes))
    # Room for a test set as large as the validation set of some sites.
    n = images_needed(table) + 3 * max(s.validation for s in table)
    listing = phantoms.listing(n, source.seed, source.modality, source.classes)
    lists = _share(listing, scale, site, source, Path())
    wanted = [item for items in lists.values() for item in items]
    root = phantoms.render(
        wanted, run_dir, source.spatial_size, source.seed, source.modality
    ).resolve()
    if source.masks:
        drawn = phantoms.mask_root(root)
        lists = {
            name: [replace(item, mask=str(drawn / item.image)) for item in items]
            for name, items in lists.items()
        }
    return {name: [_at(root, item) for item in items] for name, items in lists.items()}


def _share(
    items: Sequence[Item], scale: float, site: str, source: Source, root: Path
) -> dict[str, list[Item]]:
    """What the split of ``items`` over the scaled table gives to ``site``, below ``root``."""
    dealt = split(items, scaled(source.table, scale, len(source.classes)), source.seed)
    return {name: [_at(root, item) for item in part] for name, part in dealt.lists(site).items()}


def _at(root: Path, item: Item) -> Item:
    return replace(
        item, image=str(root / item.image), mask=str(root / item.mask) if item.mask else ""
    )
