"""What TMI 2023 states, figure by figure, beside what a reproduction measured."""

from collections.abc import Sequence

from medleak.inversion.figures.audit_data import AuditData
from medleak.inversion.figures.estimates import estimate
from medleak.inversion.figures.table import Line, lines
from medleak.inversion.reproduce.comparison import PaperEntry, grid
from medleak.inversion.results.case import NO_DEFENCE, AttackSpec
from medleak.inversion.results.rows import Row
from medleak.inversion.results.strength import DEFAULT_PARAMETER, Strength, protection, strength_of

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


def qualitative() -> list[PaperEntry]:
    """What holds no measurement."""
    return [
        PaperEntry(
            number="Fig. 1, 2, Table I",
            shows="the attack scenario, the attack, and what earlier attacks lack",
            published="drawings and a table of features; they hold no measurement.",
            here="docs/explanation/attacks.md says the same of the attacks here.",
        ),
        PaperEntry(
            number="Table II",
            shows="the sites",
            published="batch 4 and 8, each with 8, 32, 128, 512 images; site 9: one image.",
            here="as in the run; a small federation made here keeps sites 1, 5 and 9. All nine: "
            "`nvflare simulator jobs/cxr_clean`, then `--run simulator_workspace`.",
        ),
    ]


def figure_3(data: AuditData, pictures: dict[str, str]) -> PaperEntry:
    """The ablations."""
    rows = []
    for panel, (what, attack) in ABLATIONS.items():
        own = [r for r in data.measured if _is(r.attack, attack)]
        found = estimate(own, "ssim")
        rows.append([panel, what, f"`{attack}`", _mean(found and found.mean), _stuck(own)])
    prior = estimate(data.measured, "ssim_prior")
    return PaperEntry(
        number="Fig. 3",
        shows="what the attack needs",
        published="pictures: fails without BN loss (b) and without the global model (c); without "
        "prior no anatomical coherence (d); wrong prior (e) and RGB (f) are worse; best with "
        "everything (h).",
        here=f"SSIM (prior: {_mean(prior and prior.mean)})."
        + grid(("panel", "attack", "setting", "SSIM", "stuck"), rows),
        pictures=[pictures[n] for n in ("attacks",) if n in pictures],
    )


def figures_4_5(data: AuditData, pictures: dict[str, str]) -> PaperEntry:
    """Rounds and sites."""
    bare = data.where(lambda r: protection(r) == NO_DEFENCE)
    rows = []
    for site in bare.sites:
        own = [r for r in bare.measured if r.site == site]
        by_round = [estimate([r for r in own if r.round == n], "ssim") for n in bare.rounds]
        rows.append([f"{site}", *(_mean(e and e.mean) for e in by_round)])
    return PaperEntry(
        number="Fig. 4, 5",
        shows="reconstructions by round, site and training phase",
        published="only the site with one image comes back; later rounds leak finer detail; from "
        "scratch less is recognisable.",
        here="mean SSIM." + grid(("site", *(f"round {n}" for n in bare.rounds)), rows),
        why="Fig. 5b: run again without `--weights`. Gradient norms are in the run's records.",
        pictures=[pictures[n] for n in ("rounds",) if n in pictures],
    )


def figure_6ab(data: AuditData, pictures: dict[str, str]) -> PaperEntry:
    """Schedules."""
    attacks = list(dict.fromkeys(r.attack for r in data.measured))
    rows = []
    for site in data.sites:
        found = [
            estimate([r for r in data.measured if (r.site, r.attack) == (site, a)], "ssim")
            for a in attacks
        ]
        rows.append([site, *(_mean(e and e.mean) for e in found)])
    return PaperEntry(
        number="Fig. 6a, b",
        shows="SSIM against batch size (one step) and local steps (batch of one)",
        published="falls with both; about 0.5 already shows nothing recognisable.",
        here="SSIM of the first image, which is in all of them."
        + grid(("schedule", *(f"`{a}`" for a in attacks)), rows),
        pictures=[pictures[n] for n in ("schedule",) if n in pictures],
    )


def figure_6c(data: AuditData, pictures: dict[str, str]) -> PaperEntry:
    """SSIM under noise."""
    return PaperEntry(
        number="Fig. 6c, 7",
        shows="SSIM against noise, and the prior as yardstick",
        published='SSIM of the prior 0.37; the image at sigma = 0.01 is no closer: "safe".',
        here=_sweep(data, "ssim"),
        pictures=[pictures[n] for n in ("ssim", "noise") if n in pictures],
    )


def figure_8(data: AuditData, pictures: dict[str, str]) -> PaperEntry:
    """RDLV under noise."""
    return PaperEntry(
        number="Fig. 8",
        shows="RDLV by site against sigma0",
        published="only site 9 leaks (RDLV above 0), up to about sigma0 = 25.",
        here=_sweep(data, "rdlv"),
        why="Test accuracy needs a federation for each sigma0: `nvflare simulator jobs/cxr_dp`, "
        "see docs/measurements/jobs.md; `medleak figures` draws it from utility.json.",
        pictures=[pictures[n] for n in ("rdlv",) if n in pictures],
    )


FIGURE_9 = PaperEntry(
    number="Fig. 9",
    shows="RDLV of site 9 under DP-SGD",
    published="negative for all settings shown, at a higher cost in accuracy than the noise of "
    "Fig. 8.",
    why="DP-SGD is training, and cannot be replayed on a recorded update: `nvflare simulator "
    "jobs/cxr_dpsgd`, then `medleak audit`. The paper's clipping norms and multipliers are in a "
    "picture only.",
)


def figure_10(pictures: dict[str, str]) -> PaperEntry:
    """The embedding map."""
    found = "embeddings" in pictures
    return PaperEntry(
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


def figure_11(data: AuditData, pictures: dict[str, str]) -> PaperEntry:
    """IIP under noise."""
    known = any(r.iip_match is not None for r in data.rows)
    return PaperEntry(
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
    strengths = sorted({s for line in content if (s := _sigma0(line).at) is not None})
    rows = []
    for site in last.sites:
        own = {_sigma0(line): line for line in content if line.site == site}
        turned = (d.family for d in own if d.value is not None)
        for family in dict.fromkeys(turned):
            cells = []
            for s in strengths:
                wanted = NO_DEFENCE if s == 0 else family
                line = next((v for d, v in own.items() if (d.family, d.at) == (wanted, s)), None)
                found = getattr(line, column) if line else None
                cells.append(found.text(2, signed=column == "rdlv") if found else "-")
            rows.append([site, f"`{family}`", *cells])
    return f"{column.upper()}, mean and 95 % interval." + grid(
        ("site", "noise", *(f"σ₀ = {s:g}" for s in strengths)), rows
    )


def _sigma0(line: Line) -> Strength:
    return strength_of(line.protection, DEFAULT_PARAMETER)


def _is(attack: str, wanted: str) -> bool:
    """Whether ``attack`` is the one ``wanted``, with a budget or without."""
    unbounded = AttackSpec.parse(attack).without("seconds")
    return attack == wanted or unbounded == AttackSpec.parse(wanted)


def _mean(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _stuck(rows: Sequence[Row]) -> str:
    return f"{sum(r.stuck for r in rows)} of {len(rows)}"
