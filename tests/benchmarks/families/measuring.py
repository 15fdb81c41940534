"""Attack the clients of a case, and hold what came back against the truth and the targets."""

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from figures import mean, missed

from families.frame import Case, Images
from medleak.inversion.measures.similarity import assign, pairwise_ssim, psnr


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One object of the JSON file; ``unmarked`` counts clients below prior + 0.05 not `stuck`.

    Where an attack refuses a client, ``refused`` is its sentence and there are no figures.
    """

    case: str
    ssim_mean: float | None
    ssim_min: float | None
    psnr_mean: float | None
    prior_mean: float | None
    label_accuracy: float | None
    cpu_seconds: float
    images: int
    stuck: int
    unmarked: int
    missed: list[str]
    refused: str | None = None


UNMARKED = 0.05  # above the prior: less than this is no reconstruction, and must be marked stuck


def measure(
    name: str, case: Case, images: Images, seed: int, told: Callable[[str], None]
) -> Result:
    """Attack ``case.clients`` clients, one after the other."""
    ssims: list[float] = []
    psnrs: list[float] = []
    priors: list[float] = []
    right: list[float] = []
    seconds: list[float] = []
    stuck = unmarked = 0
    for k in range(case.clients):
        client = case.make(images, seed + k)
        begin = time.process_time()
        try:
            found = case.attack(client, torch.Generator().manual_seed(seed + k))
        except ValueError as error:
            return _refused(name, str(error), time.process_time() - begin)
        seconds.append(time.process_time() - begin)
        pairs = assign(found.images, client.truth)
        of_prior = pairwise_ssim(client.prior, client.truth)[0]
        ssims += pairs.ssim.tolist()
        priors += of_prior.tolist()
        reached = found.images[pairs.reconstruction], client.truth[pairs.truth]
        psnrs += psnr(*reached).tolist()
        if found.labels is not None and client.labels is not None:
            same = found.labels[pairs.reconstruction] == client.labels[pairs.truth]
            right += same.double().tolist()
        low = bool(pairs.ssim.mean() < of_prior.mean() + UNMARKED)
        stuck += found.stuck
        unmarked += low and not found.stuck
        told(
            f"  {name} {k}: SSIM {pairs.ssim.mean():.3f} (prior {of_prior.mean():.3f}) "
            f"{psnrs[-1]:.1f} dB {seconds[-1]:.1f} s {found.attempts} attempts "
            f"{ {n: round(v, 6) for n, v in found.losses.items()} } "
            f"{'STUCK' if found.stuck else ''}{' UNMARKED' if low and not found.stuck else ''}"
        )
    result = Result(
        case=name,
        ssim_mean=mean(ssims),
        ssim_min=min(ssims),
        psnr_mean=mean(psnrs),
        prior_mean=mean(priors),
        label_accuracy=mean(right) if right else None,
        cpu_seconds=mean(seconds),
        images=len(ssims),
        stuck=stuck,
        unmarked=unmarked,
        missed=[],
    )
    return dataclasses.replace(result, missed=_missed(case, result))


def _refused(name: str, why: str, seconds: float) -> Result:
    return Result(
        case=name,
        ssim_mean=None,
        ssim_min=None,
        psnr_mean=None,
        prior_mean=None,
        label_accuracy=None,
        cpu_seconds=seconds,
        images=0,
        stuck=0,
        unmarked=0,
        missed=["refused"],
        refused=why,
    )


def _missed(case: Case, found: Result) -> list[str]:
    ssim, prior = found.ssim_mean, found.prior_mean
    above = None if ssim is None or prior is None else ssim - prior
    return missed(
        (
            ("mean", case.ssim, ssim, 1),
            ("over prior", case.over_prior, above, 1),
            ("PSNR", case.psnr, found.psnr_mean, 1),
            ("labels", case.labels, found.label_accuracy, 1),
            ("seconds", case.seconds, found.cpu_seconds, -1),
            ("unmarked", 0, found.unmarked, -1),
        )
    )
