"""Can this update leak images at all? Layer by layer, in seconds, without an attack."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from medleak.inversion.evidence.reading import Reading
from medleak.inversion.evidence.source import Told
from medleak.inversion.evidence.sources.registry import SOURCES
from medleak.inversion.knowledge import KnowledgeError
from medleak.inversion.observation import Observation

Verdict = Literal["exact", "yes", "features", "labels", "not known", "nothing sent"]
"""``exact``: algebra gives an image or a convolution's input. ``yes``: there is something to match.
``features``: linear layers or low-rank adapters tell of vectors within the network, and nothing
says how these lead to pixels. ``labels``: only the head tells anything. ``not known``: no source
here applies, which is no evidence of safety. ``nothing sent``: every entry of the update is zero,
running statistics and counters among them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What an update can tell.

    Attributes:
        images: That the client claims to have trained on.
        steps: Its local steps.
        told: Of every source and layer, in the sources' order.
        without: (source, what stood in its way) for those that tell nothing here.
        verdict: See `Verdict`.
        words: The verdict in a sentence.
    """

    images: int
    steps: int
    told: Sequence[Told]
    without: Sequence[tuple[str, str]]
    verdict: Verdict
    words: str


def inspect_update(observation: Observation) -> Inspection:
    """Ask every source what each layer tells.

    A source that cannot read this network is named with the reason, and the rest still asked.
    """
    reading = Reading(observation)
    told: list[Told] = []
    without: list[tuple[str, str]] = []
    for source in SOURCES:
        try:
            found = list(source.tell(reading))
        except (KnowledgeError, ValueError, RuntimeError, NotImplementedError) as error:
            without.append((source.name, f"could not read this network: {_one_line(error)}"))
            continue
        told += found
        if not any(t.useful for t in found):
            without.append((source.name, f"needs {' and '.join(source.needs)}"))
    verdict = _verdict(observation, told)
    return Inspection(
        images=reading.images,
        steps=observation.n_steps,
        told=told,
        without=without,
        verdict=verdict,
        words=_words(verdict, told),
    )


def _verdict(observation: Observation, told: Sequence[Told]) -> Verdict:
    if observation.silent:
        return "nothing sent"
    useful = [t for t in told if t.useful]
    of_pixels = [t for t in useful if t.of == "pixels"]
    if any(t.exact for t in of_pixels):
        return "exact"
    if of_pixels:
        return "yes"
    if any(t.of == "features" for t in useful):
        return "features"
    return "labels" if useful else "not known"


def _words(verdict: Verdict, told: Sequence[Told]) -> str:
    useful = [t for t in told if t.useful and t.of == "pixels"]
    if verdict == "exact":
        first = next(t for t in useful if t.exact)
        return (
            f"Yes, by algebra alone: {first.words} ({first.source}, {first.layer}). "
            f"{_layers(len(useful))} of the images in all."
        )
    if verdict == "yes":
        return (
            f"Yes: {_layers(len(useful))} of the images, none of them exactly. How well they "
            "come back, an attack tells: medleak audit --attack row_space."
        )
    if verdict == "features":
        features = [t for t in told if t.useful and t.of == "features"]
        exact = sum(bool(t.exact) for t in features)
        return (
            f"Features, yes: {_layers(len(features), 'linear layer')} of what entered them"
            + (f", {exact} of them exactly" if exact else "")
            + ". Of pixels no source here tells anything: this is not known to be safe, as "
            "attacks that match gradients need no such source."
        )
    if verdict == "labels":
        return (
            "Labels and last features, yes. Of pixels no source here tells anything: this is not "
            "known to be safe, as attacks that match gradients need no such source."
        )
    if verdict == "nothing sent":
        return "No: every entry of the update is zero. There is nothing to learn from it."
    return (
        "Not known: no source here can read this update. That is no evidence of safety, as attacks "
        "that match gradients need no such source."
    )


def _layers(count: int, what: str = "layer") -> str:
    return f"{count} {what} tells" if count == 1 else f"{count} {what}s tell"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
