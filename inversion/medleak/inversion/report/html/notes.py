"""What a report says about itself: what is in the file, what is not, and why."""

from medleak.inversion.report.html.album import Album
from medleak.inversion.report.html.frames import Frames, Originals


def notes(
    frames: Frames, album: Album, originals: Originals, pictures: bool, reduced: bool
) -> list[str]:
    """What was left out, and how to handle the file, a sentence each."""
    found = []
    if not pictures:
        found.append("All pictures were left out, as asked. Figures count all images.")
    elif frames.pictured < frames.rows and album.left_out:
        found.append(
            f"Of {frames.rows} reconstructions {frames.pictured} are shown, the most similar of "
            "each case first, so that the file stays small enough to open. Figures count all; the "
            "audit directory holds every picture."
        )
    if reduced and pictures:
        found.append("Pictures are reduced in size. The audit directory holds them as they were.")
    if frames.kept < frames.rows:
        found.append(
            f"The table of single images inside this file has {frames.kept} of {frames.rows} lines;"
            " results.csv of the audit has all."
        )
    if album.unreadable:
        found.append(f"{album.unreadable} pictures are missing or damaged in the audit directory.")
    if album.withheld:
        found.append(
            f"{album.withheld} reconstructions were left out with the originals, as they are equal "
            "to an original pixel by pixel."
        )
    if originals == "redacted" and frames.pictured:
        found.append(
            "Originals were left out. Reconstructions remain, and one that leaks shows the "
            "patient: handle this file as patient data, or make it anew with --no-pictures."
        )
    elif frames.originals:
        found.append(
            "This file holds the original images. Handle it as patient data if they are patients'."
        )
    elif frames.pictured:
        found.append(
            "The audit had no original to compare with. A reconstruction that leaks shows the "
            "patient all the same: handle this file as patient data."
        )
    return found


def no_picture(frames: Frames, album: Album, pictures: bool) -> str:
    """Why there is none, where there is none."""
    if not pictures:
        return "All were left out, as asked."
    if not frames.rows:
        return "No update was attacked."
    if album.withheld:
        return "Each is equal to an original, and was left out with the originals."
    if album.left_out:
        return "None is small enough for this file."
    return "They are missing or damaged in the audit directory."
