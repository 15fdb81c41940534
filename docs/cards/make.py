"""Make every card of a folder, one after the other, and the table of what leaks.

    python docs/cards/make.py docs/cards workspace/cards

A card that is there already is not made again, so that hours of work can be stopped and gone on
with. The table, cards.md, has what is there so far.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

NOT_KNOWN = 3


def make(config: Path, out: Path) -> None:
    """Make one card; what cannot be made is said, and the others go on."""
    if (out / "card.json").is_file():
        return
    shutil.rmtree(out, ignore_errors=True)  # of a run that was stopped
    print(f"{config.stem} ...", flush=True)
    done = subprocess.run(["medleak", "card", str(config), "-o", str(out)], check=False)
    if done.returncode not in (0, NOT_KNOWN):
        print(f"{config.stem}: no card, exit code {done.returncode}", file=sys.stderr)


def table(configs: list[Path], out: Path) -> str:
    """All cards in Markdown, a line each; those that are missing say so."""
    lines = [
        "| configuration | do single updates leak? | images almost whole | SSIM, mean (a guess) |",
        "|---|---|---|---|",
    ]
    for config in configs:
        path = out / config.stem / "card.json"
        if not path.is_file():
            lines.append(f"| {config.stem} | not tried | | |")
            continue
        card = json.loads(path.read_bytes())
        bare = card["recipients"][0]
        ssim, prior = (
            "not known" if bare[k] is None else f"{bare[k]:.2f}" for k in ("ssim", "prior")
        )
        name = card["config"]["name"].replace("|", "/")
        whole = f"{bare['whole']} of {bare['images']}"
        lines.append(f"| {name} | {bare['light']} | {whole} | {ssim} ({prior}) |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Make the cards of the folder that is named first in the one named second."""
    folder, out = map(Path, sys.argv[1:3])
    configs = sorted(folder.glob("*.yaml"))
    out.mkdir(parents=True, exist_ok=True)
    for config in configs:
        make(config, out / config.stem)
        (out / "cards.md").write_text(table(configs, out), encoding="utf-8")
    print(f"{out / 'cards.md'}")


if __name__ == "__main__":
    main()
