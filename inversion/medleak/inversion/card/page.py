"""The page of a card, in Markdown: a minute's read, with what was not tested in its place."""

from collections.abc import Sequence
from importlib.metadata import version

from medleak.inversion.card.config import CardConfig
from medleak.inversion.card.examine import MEMBERS_TOLD, Findings, Membership, Recipient
from medleak.inversion.report.attack_classes.registry import ROWS
from medleak.inversion.report.verdicts import Light
from medleak.inversion.results.case import NO_DEFENCE
from medleak.inversion.results.replays import replay_of

TESTED = ("reconstruction", "membership_inference")
"""Classes of attack that a card tries (`AttackClass.name`)."""

NOT_TESTED = {
    "reidentification": "phantoms are nobody's, so there is no gallery of persons",
    "attribute_inference": "phantoms have no attributes that could be told",
    "site_inference": "a card simulates one round, and it takes two",
    "model_inversion": "a card simulates one round, and no final model",
    "malicious_server": "a card looks at what an honest server sees; a cheating one may see more",
}
"""Classes that a card does not try, each with the reason."""

ALSO_NOT_TESTED = (("several rounds together", "a card simulates one"),)

_HEADS = {
    Light.LEAKS: "Yes, it leaks",
    Light.FOUND: "Count it as a leak",
    Light.MAY_LEAK: "Not known: a leak is neither shown nor excluded",
    Light.NOT_KNOWN: "Not known",
    Light.NONE_FOUND: "No leak was found by what was tried",
}


def page(found: Findings) -> str:
    """The card as Markdown."""
    config, bare = found.config, found.recipients[0]
    parts = [
        f"# Would it leak? {plain(config.name)}",
        f"**{headline(found)}**",
        *([f"Cut short: {plain(found.late)}."] if found.late else []),
        *([f"Configuration: {plain(config.source)}."] if config.source else []),
        _simulated(config),
        "## Who sees what",
        table(
            (
                "who sees",
                "verdict",
                "images almost whole",
                "SSIM, mean (best)",
                "of a guess",
                "RDLV [95 %] of the worst site",
                "who was in",
            ),
            [_row(r) for r in found.recipients],
        ),
        *_reasons(found.recipients),
        "## What the update tells, without an attack",
        _inspection(found),
        "## Was this patient in it?",
        _membership(found.membership),
        "## What would change it",
        _changes(found.recipients),
        "## Not tested",
        "\n".join(f"- {what}: {why}." for what, why in not_tested()),
        "## How far this goes",
        _limits(bare),
    ]
    return "\n\n".join(parts) + "\n"


def not_tested() -> list[tuple[str, str]]:
    """What a card does not try and why: every class of attack that a report speaks of."""
    unknown = "a card does not try it"
    rows = [row for row in ROWS if row.name not in TESTED]
    classes = [(row.title, NOT_TESTED.get(row.name, unknown)) for row in rows]
    return [*classes, *ALSO_NOT_TESTED]


def headline(found: Findings) -> str:
    """The answer in one sentence."""
    bare = found.recipients[0]
    if found.members_told and bare.light is not Light.LEAKS:
        return (
            "Yes, it tells who was in it: no image was shown to come back, but members can be told "
            "from others."
        )
    head = _HEADS[bare.light]
    if bare.light is Light.LEAKS:
        return (
            f"{head}: of {bare.images} images of {bare.sites} sites {bare.whole} came "
            f"back almost whole (SSIM 0.9 or more; mean {_number(bare.ssim)}, a guess "
            f"{_number(bare.prior)})."
        )
    return f"{head}: {plain(bare.why)}."


def _simulated(config: CardConfig) -> str:
    model = "random weights" if not config.trained else f"{config.trained} steps of training"
    steps = [f"batches of {config.batch_size}"]
    if config.accumulation_steps > 1:
        steps.append(f"{config.accumulation_steps} of them a step")
    if config.epochs > 1:
        steps.append(f"{config.epochs} epochs")
    optimiser = f"{config.optimizer} at {config.lr:g}"
    if config.momentum:
        optimiser += f", momentum {config.momentum:g}"
    if config.weight_decay:
        optimiser += f", weight decay {config.weight_decay:g}"
    frozen = ", batch norm frozen" if config.frozen_norm else ""
    text = (
        f"Simulated: {config.sites} sites of {config.images} phantoms ({config.kind}) of "
        f"{config.input}; `{config.network}` with {model}{frozen}; {config.task}; "
        f"{', '.join(steps)}; {optimiser}; one round. The attacker knows all that a server knows: "
        "model, schedule, number of images, not the labels."
    )
    if config.real:
        text += f"\n\n**The federation itself differs**: {plain(config.real)}."
    return text


def who(defence: str) -> str:
    """Who sees the updates behind ``defence``."""
    if defence == NO_DEFENCE:
        return "the server, each update as it is"
    replay = replay_of(defence)
    if replay.sites > 1:
        return f"the server, the sum over {replay.sites} sites alone"
    return f"the server, each update under `{defence}`"


def _row(r: Recipient) -> tuple[str, ...]:
    best = "" if r.ssim_max is None else f" ({r.ssim_max:.2f})"
    mean, lower, upper = r.rdlv
    bounds = "" if lower is None or upper is None else f" [{lower:+.2f}, {upper:+.2f}]"
    return (
        who(r.defence),
        r.light.value,
        "not measured" if r.ssim is None else f"{r.whole} of {r.images}",
        f"{_number(r.ssim)}{best}",
        _number(r.prior),
        "not known" if mean is None else f"{mean:+.2f}{bounds}",
        r.members,
    )


def _reasons(recipients: Sequence[Recipient]) -> list[str]:
    told = [r for r in recipients if not r.light.answers]
    lines = [f"- {who(r.defence)}: {plain(r.why)}." for r in told]
    if stuck := sum(r.stuck for r in recipients):
        lines.append(f"- In {stuck} runs the attack was stuck by its own losses.")
    return ["\n".join(lines)] if lines else []


def _inspection(found: Findings) -> str:
    seen = found.inspection
    if seen is None:
        return f"Not known: the update could not be inspected ({plain(found.why)})."
    useful = [t for t in seen.told if t.useful]
    lines = [f"- {t.source}, `{t.layer}`: {plain(t.words)}" for t in useful[:6]]
    if len(useful) > 6:
        lines.append(f"- and {len(useful) - 6} more layers")
    return "\n".join([plain(seen.words), "", *lines]).strip()


def _membership(found: Membership) -> str:
    if found.untested:
        return f"Not tested: {plain(found.untested)}"
    aucs = ", ".join(f"{v:.3f} [{low:.3f}, {high:.3f}]" for v, low, high in found.auc)
    told = f"AUC of each site: {aucs}.\n\n" if aucs else ""
    return told + "\n".join(f"- {plain(v)}" for v in found.verdicts)


def held(light: str, members: str) -> bool:
    """Whether behind a defence nothing was found: no image, and nobody told to have been in."""
    return light == Light.NONE_FOUND.value and not members.startswith(MEMBERS_TOLD)


def _changes(recipients: Sequence[Recipient]) -> str:
    tried = recipients[1:]
    if not tried:
        return "Nothing was tried: name `defences` or `sums` in the description."
    good = [who(r.defence) for r in tried if held(r.light.value, r.members)]
    bad = [who(r.defence) for r in tried if not held(r.light.value, r.members)]
    lines = [f"- No leak was found any more: {g}." for g in good]
    lines += [f"- Not enough, or not known: {b}." for b in bad]
    return "\n".join(lines)


def _limits(bare: Recipient) -> str:
    text = (
        "This is a simulation on made-up images: it says what *can* come back from such an update, "
        "and little about how much of your own images does. Audit your own runs: `medleak audit`. "
    )
    if bare.light is not Light.LEAKS:
        text += "A leak that was not found is no proof that there is none. "
    return text + f"Made by medleak {version('medleak')}."


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in lines)


def _number(value: float | None) -> str:
    return "not known" if value is None else f"{value:.2f}"


def plain(text: str) -> str:
    """One line that begins no markup: texts come from files and from other libraries."""
    line = " ".join(text.split()).rstrip(".")
    return line.replace("<", "&lt;").replace("[", "\\[")
