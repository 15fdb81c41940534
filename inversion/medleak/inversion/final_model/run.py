"""From a run's final model and lists of images to what can be said of it: final_model.json."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from medleak.custom.data.datalist import load_datalist
from medleak.custom.data.transforms import load_images
from medleak.custom.networks.weights import read_state, unwrapped
from medleak.custom.record import Manifest, list_updates, read_manifest
from medleak.inversion.final_model.inversion import Inversion, examine
from medleak.inversion.final_model.members import Groups, assess
from medleak.inversion.final_model.references import Task, Training, train_references
from medleak.inversion.images.prior import load_prior
from medleak.inversion.images.truth import find_truth
from medleak.inversion.membership import lists
from medleak.inversion.membership.answer import Assessed
from medleak.inversion.membership.assessment import Group, halves
from medleak.inversion.membership.rule import RULE, judge
from medleak.inversion.networks import build_network, load_global_state
from medleak.inversion.observation import normalisation

FILE = "final_model.json"
FORMAT_VERSION = 1
MEMBERSHIP, INVERSION = "membership", "inversion"
_PERSISTED = ("app_server/FL_global_model.pt", "app_server/best_FL_global_model.pt")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked of a final model.

    Attributes:
        records: Of the run that trained it: network, task, and which sites took part.
        model: Its weights; None: where NVFlare's server keeps them beside the record.
        candidates: Datalist of whom it is asked about; None: nobody is.
        references: Datalist of public images that reference models learn from; None: none are made.
        nonmembers: Datalist of images of nobody's; None: what the sites held out.
        truth: See `medleak.inversion.images.truth.find_truth`: who was in, to measure by.
        initial: Weights that the federation began with, where they are public; None: the factory's.
        score: ``lira`` or ``rmia``.
        training: Of references.
        inversion: Of images; None: not tried.
        prior: Of inversion.
        seed: Of all draws.
        allowed_prefixes: Origins of model factories that are trusted beside the usual.
    """

    records: Path
    model: Path | None = None
    candidates: Path | None = None
    references: Path | None = None
    nonmembers: Path | None = None
    truth: Path | None = None
    initial: Path | None = None
    score: str = "lira"
    training: Training = field(default_factory=Training)
    inversion: Inversion | None = field(default_factory=Inversion)
    prior: str = "phantoms"
    seed: int = 0
    allowed_prefixes: tuple[str, ...] = ()


def answer(question: Question) -> dict[str, Any]:
    """What is left when only this model is published, for `FILE`.

    Raises:
        ValueError: Model, record or a list cannot be used; what could not be tested alone is said
            under ``not_tested``.
    """
    manifest = read_manifest(question.records)
    place = question.model or _persisted(question.records)
    state = unwrapped(read_state(place))
    picture = manifest.known_input().picture()
    task = _task(question, manifest)
    model = _network(question, manifest, state)
    sites = list(dict.fromkeys(site for _, site in list_updates(question.records)))
    datalists = _datalists(question, sites)
    nobody = _nobody(question, datalists, picture)
    content: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "record": manifest.identity(),
        "model": {"sha256": hashlib.sha256(place.read_bytes()).hexdigest(), "sites": sites},
        "seed": question.seed,
        "not_tested": [],
    }
    for name, ask in ((MEMBERSHIP, _membership), (INVERSION, _inversion)):
        generator = torch.Generator().manual_seed(question.seed)
        try:
            content[name] = ask(question, task, model, datalists, nobody, picture, generator)
        except (ValueError, ArithmeticError, RuntimeError) as error:
            why = " ".join(str(error).split())
            content["not_tested"].append({"what": name, "why": why})
    return content


def _membership(
    question: Question,
    task: Task,
    model: nn.Module,
    datalists: Mapping[str, Path | None],
    nobody: Group | None,
    picture: lists.Picture,
    generator: torch.Generator,
) -> dict[str, Any]:
    if question.candidates is None:
        raise ValueError("Nobody was asked about: give --candidates.")
    if question.references is None:
        raise ValueError(
            "No public images were given that reference models could learn from, and without such "
            "models nothing is known of what this one would make of an image that it never saw: "
            "give --references."
        )
    if nobody is None:
        raise ValueError(
            "There are no images that certainly were in no site: give --nonmembers, or lists of "
            "the sites with validation images by --truth."
        )
    candidates = lists.load_group(question.candidates, picture, "candidates")
    public = lists.load_group(question.references, picture, "references")
    trained = _trained_on(datalists, picture)
    lists.check_apart(candidates, nobody, trained)
    lists.check_apart(candidates, public, trained)
    lists.check_apart(nobody, public, None)
    if public.labels is None:
        raise ValueError("References have no classes to learn: give a datalist, not a folder.")
    background, nulls = halves(nobody, seed=question.seed)
    member = None if trained is None else lists.within(candidates, trained)
    references = train_references(task, public.images, public.labels, question.training, generator)
    groups = Groups(candidates=candidates, member=member, background=background, nulls=nulls)
    scored, found = assess(
        task, model, references, groups, question.score, question.training, generator
    )
    verdict = judge(
        found,
        score=f"{question.score} in the final model",
        knowledge=f"the final model, {len(references)} reference models",
        images=len(candidates),
        patients=len(scored.patients),
    )
    # Candidates are counted, never named; rows of theirs are nobody's to publish with a model.
    rows = [{"candidate": k} for k in range(len(candidates))]
    told = Assessed(round=0, site="", candidates=rows, found=found, verdict=verdict).summary()
    own = {k: v for k, v in told.items() if k not in ("round", "site")}
    settings = question.training
    said = {"images": len(public), "models": settings.models, "epochs": settings.epochs}
    return {"score": question.score, "rule": RULE, "references": said, **own}


def _inversion(
    question: Question,
    task: Task,
    model: nn.Module,
    datalists: Mapping[str, Path | None],
    nobody: Group | None,
    picture: lists.Picture,
    generator: torch.Generator,
) -> dict[str, Any]:
    if question.inversion is None:
        raise ValueError("Inversion of the model was left out.")
    if nobody is None or nobody.labels is None or any(p is None for p in datalists.values()):
        raise ValueError(
            "What comes out of a model is compared with all sites' training images and with images "
            "of nobody's: give --truth with a list of every site, and --nonmembers."
        )
    members = torch.cat([_images(path, picture) for path in datalists.values() if path is not None])
    size, channels = picture
    found = examine(
        model,
        task,
        members,
        (nobody.images, nobody.labels),
        read_manifest(question.records).known_task().num_classes,
        load_prior(question.prior, size, channels),
        question.inversion,
        question.training,
        generator,
    )
    return {"images": question.inversion.images, "training_images": len(members)} | found.as_json()


def _task(question: Question, manifest: Manifest) -> Task:
    initial = question.initial and unwrapped(read_state(question.initial))
    example = _network(question, manifest, None)
    mean, std = normalisation(manifest.known_input(), example)

    def normalise(images: Tensor) -> Tensor:
        shape = (len(mean), *[1] * (images.ndim - 2))
        wide = images.expand(-1, len(mean), *[-1] * (images.ndim - 2))
        return (wide - torch.tensor(mean).view(shape)) / torch.tensor(std).view(shape)

    return Task(
        build=lambda: _network(question, manifest, initial),
        normalise=normalise,
        criterion=manifest.known_task().criterion,
    )


def _network(
    question: Question, manifest: Manifest, state: Mapping[str, Tensor] | None
) -> nn.Module:
    spec = manifest.known_model()
    network = build_network(spec.path, spec.args, allowed_prefixes=question.allowed_prefixes)
    if state is not None:
        load_global_state(network, {k: v.to(torch.float32) for k, v in state.items()})
    return network.eval()


def _persisted(records: Path) -> Path:
    """Where NVFlare's server keeps the last model of the run."""
    places = [records.resolve().parent / name for name in _PERSISTED]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise ValueError(
            f"There is no {_PERSISTED[0]} beside {records}: name the final model by --model FILE."
        )
    return found


def _datalists(question: Question, sites: list[str]) -> dict[str, Path | None]:
    return {site: find_truth(question.truth, question.records, site) for site in sites}


def _nobody(
    question: Question, datalists: Mapping[str, Path | None], picture: lists.Picture
) -> Group | None:
    """Images of nobody's: given, else what sites held out (in no site's training, each once)."""
    if question.nonmembers is not None:
        return lists.load_group(question.nonmembers, picture, "nonmembers")
    trained = _trained_on(datalists, picture)
    if trained is None:
        return None
    groups = [lists.held_out(path, picture) for path in datalists.values() if path is not None]
    held = [g for g in groups if g is not None]
    if not held:
        return None
    whole = Group(
        images=torch.cat([g.images for g in held]),
        labels=torch.cat([t for g in held if (t := g.labels) is not None]),
        patients=tuple(p for g in held for p in g.patients),
    )
    seen, kept = set(trained), []
    for k, mark in enumerate(lists.fingerprints(whole.images)):
        if mark not in seen:
            seen.add(mark)
            kept.append(k)
    return whole.take(kept) if kept else None


def _trained_on(datalists: Mapping[str, Path | None], picture: lists.Picture) -> set[str] | None:
    """Of all sites together; None where one's list is not known: anybody may have been in."""
    if not datalists or any(path is None for path in datalists.values()):
        return None
    marks = [lists.trained_on(path, picture) for path in datalists.values() if path is not None]
    return set().union(*marks)


def _images(datalist: Path, picture: lists.Picture) -> Tensor:
    size, channels = picture
    items = load_datalist(datalist)["training"]
    return load_images(items, spatial_size=size, channels=channels, section="training")[0]
