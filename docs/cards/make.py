"""Make every card of a folder, one after the other, and the table of what leaks.

    python docs/cards/make.py docs/cards workspace/cards
    python docs/cards/make.py docs/cards workspace/cards --table docs/measurements/cards.md

A card that is there already is not made again, so that hours of work can be stopped and gone on
with. The table, cards.md, has what is there so far; with --table no card is made, and the table
takes the place of the one in the page that is named.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from medleak.inversion.card.config import read_card
from medleak.inversion.card.table import table_of_cards

NOT_KNOWN = 3
BEGIN, END = "<!-- made by docs/cards/make.py -->", "<!-- end -->"
"""Between them stands the table of a page."""


def make(config: Path, out: Path) -> None:
    """Make one card; what cannot be made is said, and the others go on."""
    if (out / "card.json").is_file():
        return
    shutil.rmtree(out, ignore_errors=True)  # of a run that was stopped
    print(f"{config.stem} ...", flush=True)
    done = subprocess.run(["medleak", "card", str(config), "-o", str(out)], check=False)
    if done.returncode not in (0, NOT_KNOWN):
        print(f"{config.stem}: no card, exit code {done.returncode}", file=sys.stderr)


def cards(configs: list[Path], out: Path) -> dict[str, dict[str, Any] | None]:
    """By the name of each description the content of its card.json; None: it was not made."""
    paths = {read_card(c).name: out / c.stem / "card.json" for c in configs}
    return {n: json.loads(p.read_bytes()) if p.is_file() else None for n, p in paths.items()}


def into_page(page: Path, table: str) -> None:
    """Put ``table`` in the place of the one in ``page``."""
    before, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page} has no place for the table: it lacks {BEGIN} or {END}.")
    page.write_text(f"{before}{BEGIN}\n\n{table}\n{END}{after}", encoding="utf-8")


def main() -> None:
    """Make the cards of the folder that is named first in the one named second."""
    folder, out = map(Path, sys.argv[1:3])
    configs = sorted(folder.glob("*.yaml"))
    if sys.argv[3:4] == ["--table"]:
        into_page(Path(sys.argv[4]), table_of_cards(cards(configs, out)))
        return
    out.mkdir(parents=True, exist_ok=True)
    for config in configs:
        make(config, out / config.stem)
        (out / "cards.md").write_text(table_of_cards(cards(configs, out)), encoding="utf-8")
    print(f"{out / 'cards.md'}")


if __name__ == "__main__":
    main()
