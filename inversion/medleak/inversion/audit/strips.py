"""Pictures of an attack on its way: how images come out of nothing, iteration by iteration."""

from pathlib import Path

from medleak.inversion.images.pictures import save_png, to_picture
from medleak.inversion.reconstruction import Progress, ProgressCallback
from medleak.inversion.results.case import Case


def keep_iterations(
    out: Path, case: Case, n: int, then: ProgressCallback | None
) -> ProgressCallback:
    """A callback that writes about ``n`` evenly spread iterations of ``case`` as pictures.

    They are ``images/<case>_<image>_it<iteration>.png`` in the audit directory ``out``. The first
    iteration is among them. An attack that shows no images on its way leaves none.

    Args:
        out: Audit directory.
        case: Its name is the pictures'.
        n: At least 1.
        then: Told of every iteration afterwards.
    """
    kept = 0

    def follow(state: Progress) -> None:
        nonlocal kept
        if state.images is not None and (state.iteration - 1) * n >= kept * state.total:
            kept = state.iteration * n // state.total + 1
            for k, image in enumerate(state.images.detach().cpu().clamp(0, 1)):
                name = f"{case.name}_{k}_it{state.iteration:04d}.png"
                save_png(out / "images" / name, to_picture(image))
        if then is not None:
            then(state)

    return follow
