"""Hatamizadeh et al., IEEE TMI 2023 (arXiv:2202.06924v2), table by table and figure by figure."""

from dataclasses import dataclass
from pathlib import Path

from medleak.custom.record import Manifest, find_records, list_updates, read_info
from medleak.filters.spec import Spec, rounded
from medleak.inversion.figures.audit_data import AuditData
from medleak.inversion.reproduce import tmi2023_entries as entries
from medleak.inversion.reproduce.clients import Client, State, federate, last_state
from medleak.inversion.reproduce.comparison import write_report
from medleak.inversion.reproduce.experiment import Place, bounded, cut_short
from medleak.inversion.reproduce.material import Material, folder, model_of, of_run, phantoms

RESNET18 = "medleak.custom.networks.resnet18"
LR = 0.01
REFERENCE = "training[0]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is reproduced on: a run of a federation, and its images and model for sweeps."""

    run: Path
    material: Material
    manifest: Manifest
    state: State


def subject_of(
    place: Place, run: Path | None, data: Path | None, weights: Path | None, prior: Path | None
) -> Subject:
    """What to reproduce on: ``run``, or a small federation on ``data``, or on phantoms.

    Raises:
        ValueError: Something named cannot be used.
    """
    if run is not None:
        material, manifest, state = of_run(run, None if prior is None else str(prior))
        return Subject(run=run, material=material, manifest=manifest, state=state)
    size = place.scale.size
    needed = max(sum(n for _, _, n in place.scale.sites), *place.scale.schedule)
    material = folder(place.out, data, size) if data else phantoms(place.out, "cxr", needed, size)
    model = model_of(material, RESNET18, {}, size, weights=weights)
    return small_federation(place, material, model)


def small_federation(place: Place, material: Material, model: tuple[Manifest, State]) -> Subject:
    """A federation made here, of the smallest sites of TMI Table II, in the place of a run."""
    manifest, state = model
    clients = []
    at = 0
    # TMI's site-9 shares its image with site-1; here it has one of its own, so that IIP is plain.
    items = material.first(sum(n for _, _, n in place.scale.sites))
    for site, batch, n in place.scale.sites:
        clients.append(Client(site=site, items=items[at : at + n], batch_size=batch))
        at += n
    run = place.out / "federation-run"
    place.say(f"{len(clients)} clients, {place.scale.rounds} rounds")
    federate(run, manifest, state, clients, lr=LR, rounds=place.scale.rounds)
    return Subject(run=run, material=material, manifest=manifest, state=last_state(run / "records"))


def reproduce(place: Place, subject: Subject) -> Path:
    """Run the audits, draw, and write ``tmi2023.md``; stopped, the same call goes on.

    Returns:
        The report.

    Raises:
        ValueError: Something cannot be used, see `Place.audit`.
        OSError: The disk refuses a file.
    """
    federation, charts = _federation(place, subject)
    ablations, strip = _ablations(place, subject)
    schedules, sweep = _schedules(place, subject)
    path = place.out / "tmi2023.md"
    side, model = subject.manifest.known_input().spatial_size[0], subject.manifest.known_model()
    setting = (
        f"Measured on {subject.material.source}, {side} px, "
        f"model {model.path}, seeds {', '.join(map(str, place.scale.seeds))}"
        f". SSIM is scikit-image's; the paper's own variant is in each results.csv (ssim_tmi). "
        "The paper: 224 px, 100 rounds, ImageNet weights, nine sites of 1 to 512 images."
        + cut_short(place.scale)
    )
    found = [
        *entries.qualitative(),
        entries.figure_3(ablations, strip),
        entries.figures_4_5(federation, charts),
        entries.figure_6ab(schedules, sweep),
        entries.figure_6c(federation, charts),
        entries.figure_8(federation, charts),
        entries.FIGURE_9,
        entries.figure_10(charts),
        entries.figure_11(federation, charts),
    ]
    write_report(path, "TMI 2023, published and measured here", setting, found)
    return path


def _federation(place: Place, subject: Subject) -> tuple[AuditData, dict[str, str]]:
    recorded = list_updates(find_records(subject.run))
    rounds = sorted({round for round, _ in recorded})
    shown = sorted({rounds[0], rounds[len(rounds) // 2], rounds[-1]})
    attack = [bounded("row_space", place.scale.seconds)]
    prior = subject.material.prior
    place.audit(
        "federation", subject.run, prior=prior, attacks=attack, rounds=shown, sites=place.sites
    )
    noise = [
        str(Spec.of("percentile_gaussian", {"sigma0": rounded(s), "scope": scope}))
        for scope in ("update", "group")
        for s in place.scale.strengths
    ]
    data = place.audit(
        "federation",
        subject.run,
        prior=prior,
        attacks=attack,
        rounds=shown[-1:],
        sites=place.sites,
        defences=noise,
    )
    figures = place.figures(data, "rounds")
    # Curves compare like with like: the round of the sweep alone.
    last = data.where(lambda r: r.round == shown[-1])
    return data, figures | place.figures(last, "ssim", "rdlv", "embeddings", "iip", "noise")


def _ablations(place: Place, subject: Subject) -> tuple[AuditData, dict[str, str]]:
    records = find_records(subject.run)
    last = max(round for round, _ in list_updates(records))
    data = place.audit(
        "ablations",
        subject.run,
        prior=subject.material.prior,
        attacks=[bounded(a, place.scale.seconds) for _, a in entries.ABLATIONS.values()],
        rounds=[last],
        sites=[_smallest_site(records, last)],
    )
    return data, place.figures(data, "attacks")


def _schedules(place: Place, subject: Subject) -> tuple[AuditData, dict[str, str]]:
    items = subject.material.first(max(place.scale.schedule))
    clients = []
    for n in place.scale.schedule:
        clients.append(Client(site=f"batch-{n}", items=items[:n], batch_size=n))
        if n > 1:
            clients.append(Client(site=f"steps-{n}", items=items[:n], batch_size=1))
    run = place.out / "schedules-run"
    manifest = subject.manifest.model_copy(
        update={"job": f"schedules {subject.material.name}", "left_out": ()}
    )
    federate(run, manifest, subject.state, clients, lr=LR)
    attacks = ("epochwise_bn", "epochwise_bn:bn_weight=0", "epochwise_bn:start=uniform")
    data = place.audit(
        "schedules",
        run,
        prior=subject.material.prior,
        attacks=[bounded(a, place.scale.seconds) for a in (*attacks, "row_space")],
    )
    of_reference = data.where(lambda r: r.truth_image == REFERENCE)
    return of_reference, place.figures(of_reference, "schedule")


def _smallest_site(records: Path, round: int) -> str:
    sites = [site for r, site in list_updates(records) if r == round]
    return min(sites, key=lambda s: read_info(records, round, s).known("n_images"))
