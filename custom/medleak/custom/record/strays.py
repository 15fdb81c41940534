"""What lies in a record and is no update of it: it was not examined, and that must be said."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from medleak.custom.record.files import SITE_NAME, RecordError
from medleak.custom.record.schema import LeftOut

_ROUND_DIGITS = range(4, 10)


class EmptyRecord(RecordError):
    """A record that can be read and has no update: whatever was asked, nothing was examined."""


def strays(root: Path) -> list[str]:
    """Places below ``root`` that look like a part of the record and are read as none, and why.

    A crash while writing leaves whole updates (their ``.json`` comes last), so tensors without one
    were cut short, or lost what was said of them.

    Returns:
        Sentences' beginnings such as ``round_0003/site-1.safetensors has no .json``, by place.
    """
    found = []
    for folder in sorted(p for p in Path(root).glob("round*") if p.is_dir()):
        digits = folder.name.removeprefix("round_")
        if not (digits.isdecimal() and digits.isascii() and len(digits) in _ROUND_DIGITS):
            found.append(f"{_shown(folder.name)}/ has the name of no round")
            continue
        found += [f"{folder.name}/{what}" for what in _in_round(folder)]
    return found


def _in_round(folder: Path) -> list[str]:
    names = sorted(p.name for p in folder.iterdir() if p.name[0] != ".")
    sidecars = {name.removesuffix(".json") for name in names if name.endswith(".json")}
    nameless = [stem for stem in sidecars if not _is_site(stem)]
    found = [f"{_shown(stem)}.json has the name of no site" for stem in nameless]
    for name in names:
        stem = name.removesuffix(".safetensors")
        if stem != name and stem != "global" and stem not in sidecars:
            found.append(f"{_shown(name)} has no .json")
    if not any(map(_is_site, sidecars)) and not found:
        found.append(" holds no update")
    return sorted(found)


def _is_site(name: str) -> bool:
    return SITE_NAME.fullmatch(name) is not None


def _shown(name: str) -> str:
    """A stranger's file name, short and without what a terminal would obey."""
    return "".join(c if c.isprintable() else "?" for c in name[:100])


def left_out_text(left_out: Sequence[LeftOut]) -> str:
    """How many updates arrived and were not recorded, by reason; empty for none."""
    if not left_out:
        return ""
    reasons = Counter(" ".join(one.reason.split()) for one in left_out)
    listed = "; ".join(f"{n}: {_shown(reason)}" for reason, n in reasons.most_common(3))
    more = f"; and {len(reasons) - 3} other reasons" if len(reasons) > 3 else ""
    return f"{len(left_out)} updates arrived and were not recorded ({listed}{more})"
