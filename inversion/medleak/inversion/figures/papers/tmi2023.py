"""Hatamizadeh et al., IEEE TMI 2023 (arXiv:2202.06924v2), table by table and figure by figure."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medleak.custom.record import Manifest, find_records, list_updates, read_info
from medleak.inversion.figures.audit_data import AuditData
from medleak.inversion.figures.estimates import estimate
from medleak.inversion.figures.papers.clients import Client, State, federate, last_state
from medleak.inversion.figures.papers.experiment import Place, bounded, cut_short
from medleak.inversion.figures.papers.material import Material, folder, model_of, of_run, phantoms
from medleak.inversion.figures.papers.report import Entry, grid, write_report
from medleak.inversion.figures.protection import dose, protection
from medleak.inversion.figures.table import lines
from medleak.inversion.plan import NO_DEFENCE
from medleak.inversion.results import Row

RESNET18 = "medleak.custom.networks.resnet18"
LR = 0.01
REFERENCE = "training[0]"

ABLATIONS = {
    "b": ("no statistics (Geiping et al.)", "inverting_gradients"),
    "b'": ("without the BN loss", "epochwise_bn:bn_weight=0"),
    "c": ("without the global model", "epochwise_bn:global_model=false"),
    "d": ("no prior", "epochwise_bn:start=uniform"),
    "e": ("wrong prior, gray", "epochwise_bn:start=fundus"),
    "f": ("wrong prior, RGB", "epochwise_bn:start=fundus,gray=false"),
    "g": ("right prior, RGB", "epochwise_bn:gray=false"),
    "h": ("everything", "epochwise_bn"),
    "-": ("row_space, which the paper does not have", "row_space"),
}
"""TMI Fig. 3: what the attack goes without, and how to say that to an audit."""


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
    setting = (
        f"Measured on {subject.material.source}, {subject.manifest.input.spatial_size[0]} px, "
        f"model {subject.manifest.model.path}, seeds {', '.join(map(str, place.scale.seeds))}"
        f". SSIM is scikit-image's; the paper's own variant is in each results.csv (ssim_tmi). "
        "The paper: 224 px, 100 rounds, ImageNet weights, nine sites of 1 to 512 images."
        + cut_short(place.scale)
    )
    entries = [
        *_qualitative(),
        _figure_3(ablations, strip),
        _figures_4_5(federation, charts),
        _figure_6ab(schedules, sweep),
        _figure_6c(federation, charts),
        _figure_8(federation, charts),
        _FIGURE_9,
        _figure_10(charts),
        _figure_11(federation, charts),
    ]
    write_report(path, "TMI 2023, published and measured here", setting, entries)
    return path


def _federation(place: Place, subject: Subject) -> tuple[AuditData, dict[str, str]]:
    recorded = list_updates(find_records(subject.run))
    rounds = sorted({round for round, _ in recorded})
    shown = sorted({rounds[0], rounds[len(rounds) // 2], rounds[-1]})
    attack = [bounded("row_space", place.scale.seconds)]
    prior = subject.material.prior
    place.audit("federation", subject.run, prior=prior, attacks=attack, rounds=shown)
    noise = [
        f"percentile_gaussian:sigma0={s:g},scope={scope}"
        for scope in ("update", "group")
        for s in place.scale.strengths
    ]
    data = place.audit(
        "federation", subject.run, prior=prior, attacks=attack, rounds=shown[-1:], defences=noise
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
        attacks=[bounded(a, place.scale.seconds) for _, a in ABLATIONS.values()],
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
    return min(sites, key=lambda s: read_info(records, round, s).n_images)


def _qualitative() -> list[Entry]:
    return [
        Entry(
            number="Fig. 1, 2, Table I",
            shows="the attack scenario, the attack, and what earlier attacks lack",
            published="drawings and a table of features; they hold no measurement.",
            here="docs/attacks.md says the same of the attacks here.",
        ),
        Entry(
            number="Table II",
            shows="the sites",
            published="batch 4 and 8, each with 8, 32, 128, 512 images; site 9: one image.",
            here="as in the run; a small federation made here keeps sites 1, 5 and 9. All nine: "
            "`nvflare simulator jobs/cxr_clean`, then `--run simulator_workspace`.",
        ),
    ]


def _figure_3(data: AuditData, pictures: dict[str, str]) -> Entry:
    rows = []
    for panel, (what, attack) in ABLATIONS.items():
        own = [r for r in data.measured if _is(r.attack, attack)]
        found = estimate(own, "ssim")
        rows.append([panel, what, f"`{attack}`", _mean(found and found.mean), _stuck(own)])
    prior = estimate(data.measured, "ssim_prior")
    return Entry(
        number="Fig. 3",
        shows="what the attack needs",
        published="pictures: fails without BN loss (b) and without the global model (c); without "
        "prior no anatomical coherence (d); wrong prior (e) and RGB (f) are worse; best with "
        "everything (h).",
        here=f"SSIM (prior: {_mean(prior and prior.mean)})."
        + grid(("panel", "attack", "setting", "SSIM", "stuck"), rows),
        pictures=[pictures[n] for n in ("attacks",) if n in pictures],
    )


def _figures_4_5(data: AuditData, pictures: dict[str, str]) -> Entry:
    bare = data.where(lambda r: protection(r) == NO_DEFENCE)
    rows = []
    for site in bare.sites:
        own = [r for r in bare.measured if r.site == site]
        by_round = [estimate([r for r in own if r.round == n], "ssim") for n in bare.rounds]
        rows.append([f"{site}", *(_mean(e and e.mean) for e in by_round)])
    return Entry(
        number="Fig. 4, 5",
        shows="reconstructions by round, site and training phase",
        published="only the site with one image comes back; later rounds leak finer detail; from "
        "scratch less is recognisable.",
        here="mean SSIM." + grid(("site", *(f"round {n}" for n in bare.rounds)), rows),
        why="Fig. 5b: run again without `--weights`. Gradient norms are in the run's records.",
        pictures=[pictures[n] for n in ("rounds",) if n in pictures],
    )


def _figure_6ab(data: AuditData, pictures: dict[str, str]) -> Entry:
    attacks = list(dict.fromkeys(r.attack for r in data.measured))
    rows = []
    for site in data.sites:
        found = [
            estimate([r for r in data.measured if (r.site, r.attack) == (site, a)], "ssim")
            for a in attacks
        ]
        rows.append([site, *(_mean(e and e.mean) for e in found)])
    return Entry(
        number="Fig. 6a, b",
        shows="SSIM against batch size (one step) and local steps (batch of one)",
        published="falls with both; about 0.5 already shows nothing recognisable.",
        here="SSIM of the first image, which is in all of them."
        + grid(("schedule", *(f"`{a}`" for a in attacks)), rows),
        pictures=[pictures[n] for n in ("schedule",) if n in pictures],
    )


def _figure_6c(data: AuditData, pictures: dict[str, str]) -> Entry:
    return Entry(
        number="Fig. 6c, 7",
        shows="SSIM against noise, and the prior as yardstick",
        published='SSIM of the prior 0.37; the image at sigma = 0.01 is no closer: "safe".',
        here=_sweep(data, "ssim"),
        pictures=[pictures[n] for n in ("ssim", "noise") if n in pictures],
    )


def _figure_8(data: AuditData, pictures: dict[str, str]) -> Entry:
    return Entry(
        number="Fig. 8",
        shows="RDLV by site against sigma0",
        published="only site 9 leaks (RDLV above 0), up to about sigma0 = 25.",
        here=_sweep(data, "rdlv"),
        why="Test accuracy needs a federation for each sigma0: `nvflare simulator jobs/cxr_dp`, "
        "see docs/jobs.md; `medleak figures` draws it from utility.json.",
        pictures=[pictures[n] for n in ("rdlv",) if n in pictures],
    )


_FIGURE_9 = Entry(
    number="Fig. 9",
    shows="RDLV of site 9 under DP-SGD",
    published="negative for all settings shown, at a higher cost in accuracy than the noise of "
    "Fig. 8.",
    why="DP-SGD is training, and cannot be replayed on a recorded update: `nvflare simulator "
    "jobs/cxr_dpsgd`, then `medleak audit`. The paper's clipping norms and multipliers are in a "
    "picture only.",
)


def _figure_10(pictures: dict[str, str]) -> Entry:
    found = "embeddings" in pictures
    return Entry(
        number="Fig. 10",
        shows="t-SNE of embeddings of originals and reconstructions",
        published="with more noise reconstructions drift away from the originals.",
        here="the map below." if found else "",
        why=""
        if found
        else "It needs a ResNet-18: `--weights FILE`, or ImageNet's in torch's "
        "cache; nothing is downloaded.",
        pictures=[pictures["embeddings"]] if found else [],
    )


def _figure_11(data: AuditData, pictures: dict[str, str]) -> Entry:
    known = any(r.iip_match is not None for r in data.rows)
    return Entry(
        number="Fig. 11",
        shows="IIP by site against sigma0",
        published="site 9: 1.0 up to sigma0 about 20; all others below 0.1 at much less noise.",
        here=_sweep(data, "iip") if known else "",
        why="" if known else "It needs an embedding network, see Fig. 10.",
        pictures=[pictures[n] for n in ("iip",) if n in pictures],
    )


def _sweep(data: AuditData, column: str) -> str:
    """A table: sites and scopes down, strengths across."""
    last = data.where(lambda r: r.round == data.rounds[-1])
    content = lines(last)
    strengths = sorted({d.strength for line in content if (d := dose(line.protection))})
    rows = []
    for site in last.sites:
        own = {d: line for line in content if line.site == site and (d := dose(line.protection))}
        for family in dict.fromkeys(d.family for d in own if d.family != NO_DEFENCE):
            cells = []
            for s in strengths:
                wanted = NO_DEFENCE if s == 0 else family
                line = next(
                    (v for d, v in own.items() if (d.family, d.strength) == (wanted, s)), None
                )
                found = getattr(line, column) if line else None
                cells.append(found.text(2, signed=column == "rdlv") if found else "-")
            rows.append([site, f"`{family}`", *cells])
    return f"{column.upper()}, mean and 95 % interval." + grid(
        ("site", "noise", *(f"σ₀ = {s:g}" for s in strengths)), rows
    )


def _is(attack: str, wanted: str) -> bool:
    return attack == wanted or attack.startswith((f"{wanted},seconds=", f"{wanted}:seconds="))


def _mean(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _stuck(rows: Sequence[Row]) -> str:
    return f"{sum(r.stuck for r in rows)} of {len(rows)}"
