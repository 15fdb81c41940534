"""The public table of what leaks: a line for each card, and for each that was not made."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from medleak.inversion.card.page import held, plain, table, who
from medleak.inversion.report.values import listing, mapping, number, text
from medleak.inversion.report.verdicts import Light

HEAD = (
    "configuration",
    "do single updates leak?",
    "images almost whole",
    "SSIM: mean (best; a guess)",
    "who was in",
    "what held, of what was tried",
)
_LONGEST = 240  # characters of a reason
_WIDTH = 118  # of a line of prose


def table_of_cards(cards: Mapping[str, Mapping[str, Any] | None]) -> str:
    """The table as Markdown, and below it why what is not known is not.

    Args:
        cards: By the name of a description, the content of its card.json; None: it was not made.
    """
    rows = [_row(name, card) for name, card in cards.items()]
    whys = [line for name, card in cards.items() if card and (line := _why(name, card))]
    return "\n".join([table(HEAD, rows), "", *whys]).rstrip() + "\n"


def _row(name: str, card: Mapping[str, Any] | None) -> tuple[str, ...]:
    recipients = _recipients(card)
    if card is None or not recipients:
        return (name, "not run", *[""] * (len(HEAD) - 2))
    bare = recipients[0]
    figures = [number(bare.get(k)) for k in ("ssim", "ssim_max", "prior")]
    mean, best, guess = ("not known" if v is None else f"{v:.2f}" for v in figures)
    return (
        _name(name, card),
        text(bare.get("light")),
        "not measured" if figures[0] is None else f"{bare.get('whole')} of {bare.get('images')}",
        "not measured" if figures[0] is None else f"{mean} ({best}; {guess})",
        who_was_in(mapping(card.get("membership"))),
        _held(recipients[1:]),
    )


def who_was_in(membership: Mapping[str, Any]) -> str:
    """Of how many sites members are told from others; what was not examined is not "not told"."""
    kinds = [text(k) for k in listing(membership.get("kinds"))]
    if not kinds:
        return "not tested"
    told, not_told = kinds.count("leaks"), kinds.count("no_leak_found")
    if told:
        return f"told at {told} of {len(kinds)} sites"
    return "not told" if not_told == len(kinds) else "not known"


def _held(tried: Sequence[Mapping[str, Any]]) -> str:
    if not tried:
        return "nothing tried"
    good = [r for r in tried if held(text(r.get("light")), text(r.get("members")))]
    words = [who(text(r.get("defence"))).removeprefix("the server, ") for r in good]
    return f"{len(good)} of {len(tried)}" + (f": {'; '.join(words)}" if words else "")


def _why(name: str, card: Mapping[str, Any]) -> str:
    recipients = _recipients(card)
    settled = [light.value for light in Light if light.answers]
    if not recipients or text(recipients[0].get("light")) in settled:
        return ""
    why = plain(text(recipients[0].get("why")))
    cut = why if len(why) <= _LONGEST else f"{why[: _LONGEST - 1]}…"
    line = f"- {_name(name, card)}: {text(recipients[0].get('light'))}, because {cut}"
    return textwrap.fill(line, _WIDTH, subsequent_indent="  ", break_long_words=False)


def _name(name: str, card: Mapping[str, Any]) -> str:
    return plain(text(mapping(card.get("config")).get("name"))) or name


def _recipients(card: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    return [mapping(r) for r in listing(mapping(card).get("recipients"))]
