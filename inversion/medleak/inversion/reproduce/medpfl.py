"""Das et al., MedPFL (arXiv:2409.18907), table by table and figure by figure."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medleak.filters.spec import Spec
from medleak.inversion.attacks.registry import attack_name
from medleak.inversion.figures.audit_data import AuditData
from medleak.inversion.figures.estimates import Estimate, estimate, estimates
from medleak.inversion.measures.similarity import ASR_THRESHOLD
from medleak.inversion.reproduce.appearance import table_iv, table_v
from medleak.inversion.reproduce.classifier import classifier
from medleak.inversion.reproduce.clients import Client, federate
from medleak.inversion.reproduce.comparison import PaperEntry, grid, write_report
from medleak.inversion.reproduce.experiment import Place, bounded, cut_short
from medleak.inversion.reproduce.material import Material, folder, model_of, phantoms
from medleak.inversion.reproduce.stated import TABLE_II, TABLE_III, Stated
from medleak.inversion.results.case import NO_DEFENCE
from medleak.inversion.results.rows import Row
from medleak.inversion.results.strength import protection

SIZE = 32
LR = 0.01
_HALF = 0.5  # mean and deviation: pixels in [-1, 1]
CNN_ATTACKS = ("dlg", "idlg", "cpl")
OTHER_DEFENCES = (
    f"gaussian_perturbation:scale=0.01,lr={LR}",
    "top_k:fraction=0.1",
    "clipped_gaussian:max_grad_norm=1.0,noise_multiplier=1.0",
)
_LEVELS = (100, 200, 300, 400)  # of the paper
_MODALITIES = ("dermoscopy", "cxr", "brain_mri")
_CNN = "medleak.custom.small_networks.cnn4"
_RESNET = "medleak.custom.networks.resnet18_cifar"


def reproduce(place: Place, data: Sequence[Path], weights: Path | None) -> Path:
    """Attack single images of every set, with and without defences, and write ``medpfl.md``.

    Args:
        place: Where to, and how much.
        data: Folder-per-class sets; none: phantoms of three modalities.
        weights: Of the ResNet-18 that Table V's classifiers start from; None: random.

    Returns:
        The report.

    Raises:
        ValueError: Something cannot be used, see `Place.audit`.
        OSError: The disk refuses a file.
    """
    n = place.scale.images
    sets = [folder(place.out, at, SIZE) for at in data] or [
        phantoms(place.out, modality, n, SIZE) for modality in _MODALITIES
    ]
    attacks: dict[str, AuditData] = {}
    defended: dict[str, AuditData] = {}
    residual: dict[str, AuditData] = {}
    pictures: dict[str, list[str]] = {}
    for material in sets:
        attacks[material.name], defended[material.name] = _cnn(place, material)
        residual |= _resnet(place, material)
        for data_, names in (
            (attacks[material.name], ("attacks", "iterations")),
            (defended[material.name], ("noise",)),
        ):
            for name, at in place.figures(data_, *names).items():
                pictures.setdefault(name, []).append(at)
    entries = [
        *_qualitative(sets),
        _table_ii(attacks, residual),
        _strips(pictures.get("iterations", [])),
        _reconstructions(pictures.get("attacks", [])),
        _table_iii(attacks, defended),
        _noise(pictures.get("noise", [])),
        table_iv(sets, SIZE),
        table_v(sets, defended, SIZE, weights),
    ]
    path = place.out / "medpfl.md"
    setting = (
        f"Measured on {'; '.join(m.source for m in sets)}: {n} images of each, {SIZE} px, one "
        "image in one step of SGD, pixels in [-1, 1], seeds "
        + ", ".join(map(str, place.scale.seeds))
        + f". Success: SSIM of at least {ASR_THRESHOLD:g} (scikit-image's). The paper: 100 images "
        "of each set, on an RTX A6000; which of its splits they are from, it does not say."
        + cut_short(place.scale)
    )
    write_report(path, "MedPFL, published and measured here", setting, entries)
    return path


def _cnn(place: Place, material: Material) -> tuple[AuditData, AuditData]:
    """DLG, iDLG and CPL on CPL's network; then CPL under each defence."""
    run = _run(place, material, _CNN, {"spatial_size": SIZE})
    seconds = place.scale.seconds
    name = f"cnn-{material.name}"
    place.audit(
        name,
        run,
        prior=material.prior,
        attacks=[bounded(a, seconds) for a in CNN_ATTACKS],
        iterations=place.scale.iterations,
    )
    data = place.audit(
        name,
        run,
        prior=material.prior,
        attacks=[bounded("cpl", seconds)],
        defences=_defences(place),
    )
    bare = data.where(lambda r: protection(r) == NO_DEFENCE)
    return bare, data.where(lambda r: r.attack.startswith("cpl"))


def noise_of(level: int) -> str:
    """MedPFL's noise level: its text does not define it, its code adds Laplace of scale 1/L."""
    scale = float(f"{1 / level:.4g}")
    return str(Spec.of("laplace_perturbation", {"scale": scale, "lr": LR}))


def _defences(place: Place) -> list[str]:
    return [*map(noise_of, place.scale.levels), *OTHER_DEFENCES]


def _resnet(place: Place, material: Material) -> dict[str, AuditData]:
    """Inverting Gradients on ResNet-18, untrained and trained."""
    found = {}
    for state in ("Untrained", "Trained") if place.scale.trained else ("Untrained",):
        run = _run(place, material, _RESNET, {}, f"resnet-{state.lower()}", state == "Trained")
        found[f"{material.name} {state}"] = place.audit(
            f"resnet-{state.lower()}-{material.name}",
            run,
            prior=material.prior,
            attacks=[bounded("inverting_gradients", place.scale.seconds)],
        )
    return found


def _run(
    place: Place,
    material: Material,
    model: str,
    args: Mapping[str, Any],
    name: str = "cnn",
    trained: bool = False,
) -> Path:
    """A client for every image, each with one step from the same weights."""
    run = place.out / "runs" / f"{name}-{material.name}"
    manifest, state = model_of(material, model, args, SIZE, mean=_HALF, std=_HALF)
    if trained and not (run / "records" / "manifest.json").is_file():
        place.say(f"training {model} on {len(material.public)} public images of {material.name}")
        state = classifier(material, model, SIZE, mean=_HALF, std=_HALF).state_dict()
    clients = [
        Client(site=f"image-{k}", items=[item], batch_size=1)
        for k, item in enumerate(material.first(place.scale.images))
    ]
    federate(run, manifest, state, clients, lr=LR)
    return run


def _qualitative(sets: Sequence[Material]) -> list[PaperEntry]:
    return [
        PaperEntry(
            number="Fig. 1-4",
            shows="samples, overview, workflow, and failed attacks",
            published="pictures; no measurement but the failures' MSE and SSIM.",
            here="failures are in each audit's pictures, marked stuck where the attack knows.",
        ),
        PaperEntry(
            number="Table I",
            shows="the sets",
            published="Melanoma 10000 images, 2 classes; COVID-19 X-ray 317, 3; Brain MRI 7022, 4.",
            here="; ".join(f"{m.source}, {m.classes} classes" for m in sets) + ".",
        ),
    ]


def _table_ii(attacks: Mapping[str, AuditData], residual: Mapping[str, AuditData]) -> PaperEntry:
    rows = []
    for name, data in attacks.items():
        for attack in CNN_ATTACKS:
            own = [r for r in data.measured if attack_name(r.attack) == attack]
            rows.append(_performance(name, attack, "CNN", own))
    for name, data in residual.items():
        material, _, state = name.rpartition(" ")
        rows.append(
            _performance(material, "inverting_gradients", f"ResNet-18 {state}", data.measured)
        )
    header = ("set", "attack", "model", "ASR", "published", "SSIM of successes", "published")
    header += ("MSE of successes", "published", "CPU s an image", "published (GPU s)")
    return PaperEntry(
        number="Table II",
        shows="success of GradInv, CPL, DLG and iDLG",
        published="beside each row, for the set of the same kind.",
        here="one update an image." + grid(header, rows),
        why="The published MSE of GradInv (0.5 to 0.9 at an SSIM above 0.9) cannot be of pixels in "
        "[0, 1], as it is here. The trained ResNet-18 learnt public images of the set here (with "
        "--quick it is left out); the paper's is pre-trained on ImageNet.",
    )


def _performance(material: str, attack: str, model: str, rows: Sequence[Row]) -> list[str]:
    good = [r for r in rows if (r.ssim or 0) >= ASR_THRESHOLD]
    success = estimate(rows, "asr")
    ssim, mse = estimates(good, "ssim", "mse").values()
    seconds = sum(r.seconds for r in rows) / max(len(rows), 1)
    stated = TABLE_II.get((_kind(material), attack, model), Stated("-", "-", "-", "-"))
    return [
        material,
        attack,
        model,
        success.text(2) if success else "-",
        stated.asr,
        _number(ssim, ".4f"),
        stated.ssim,
        _number(mse, ".1e"),
        stated.mse,
        f"{seconds:.1f}",
        stated.seconds,
    ]


def _strips(pictures: Sequence[str]) -> PaperEntry:
    return PaperEntry(
        number="Fig. 5-7",
        shows="CPL from start to end",
        published="from a start without content to the image in up to 200 iterations.",
        here="the strips below: the best image of each attack." if pictures else "",
        why="" if pictures else "The attacks kept no iterations.",
        pictures=pictures,
    )


def _reconstructions(pictures: Sequence[str]) -> PaperEntry:
    return PaperEntry(
        number="Fig. 8, 9",
        shows="originals and reconstructions by attack",
        published="iDLG and GradInv: reconstructions like the originals.",
        here="the grids below." if pictures else "",
        pictures=pictures,
    )


def _table_iii(attacks: Mapping[str, AuditData], defended: Mapping[str, AuditData]) -> PaperEntry:
    rows = []
    levels = {noise_of(level): level for level in _LEVELS}
    for name, data in defended.items():
        for text in dict.fromkeys(protection(r) for r in data.measured):
            own = [r for r in data.measured if protection(r) == text]
            level = levels.get(text)
            key = "attack" if text == NO_DEFENCE else str(level)
            mse, ssim = TABLE_III.get((_kind(name), key), ("-", "-"))
            rows.append(
                [
                    name,
                    f"`{text}`",
                    "-" if level is None else str(level),
                    _number(estimate(own, "mse"), ".4f"),
                    mse,
                    _number(estimate(own, "ssim"), ".4f"),
                    ssim,
                ]
            )
    header = ("set", "defence", "noise level", "MSE", "published", "SSIM", "published")
    return PaperEntry(
        number="Table III",
        shows="CPL under noise on the gradient, and under other defences",
        published="SSIM falls from level 100 to 400; see each row. The row without a defence has "
        "lower SSIM than level 100 on X-rays: its mean is over failures too.",
        here="means over all images, failures included." + grid(header, rows),
        why="The paper does not define its noise level L. Its published code adds Laplace noise of "
        "scale 1/L to the gradient, so that a higher level is *less* noise, as here; its text and "
        "table say the opposite. Defences other than Laplace are not in its table.",
    )


def _noise(pictures: Sequence[str]) -> PaperEntry:
    return PaperEntry(
        number="Fig. 10, 11",
        shows="reconstructions at noise levels 100 to 400",
        published="medical images stay visible at every level, CIFAR-10 at none.",
        here="the grids below; scale = 1 / level." if pictures else "",
        pictures=pictures,
    )


def _kind(material: str) -> str:
    """The paper's set that ``material`` is of the kind of, by its name; else itself."""
    kinds = {"dermoscopy": "melanoma", "covid": "cxr", "xray": "cxr", "brain": "brain_mri"}
    return next((v for k, v in kinds.items() if k in material.lower()), material)


def _number(found: Estimate | None, form: str) -> str:
    return "-" if found is None else format(found.mean, form)
