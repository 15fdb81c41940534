"""From a run's final model and lists of images to what can be said of it: final_model.json."""

import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from medleak.custom.record import read_manifest
from medleak.inversion.final_model.inversion import Inversion, examine
from medleak.inversion.final_model.members import Groups, assess
from medleak.inversion.final_model.published import Factory, persisted, published
from medleak.inversion.final_model.references import Task, Training, train_references
from medleak.inversion.final_model.sites import Sites
from medleak.inversion.images.prior import load_prior
from medleak.inversion.membership import lists
from medleak.inversion.membership.answer import Assessed
from medleak.inversion.membership.assessment import Group, halves
from medleak.inversion.membership.rule import RULE, judge

FILE = "final_model.json"
FORMAT_VERSION = 1
MEMBERSHIP, INVERSION = "membership", "inversion"


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


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _Case:
    """All that both questions are asked with; ``nobody``: images of nobody's, None: there are none.

    ``generator`` is each question's own, so that one does not depend on the other.
    """

    question: Question
    task: Task
    model: nn.Module
    sites: Sites
    nobody: Group | None
    classes: int
    picture: lists.Picture
    generator: torch.Generator


def answer(question: Question) -> dict[str, Any]:
    """What is left when only this model is published, for `FILE`.

    Raises:
        ValueError: Model, record or a list cannot be used; what could not be tested alone is said
            under ``not_tested``.
    """
    manifest = read_manifest(question.records)
    place = question.model or persisted(question.records)
    picture = manifest.known_input().picture()
    factory = Factory(manifest=manifest, allowed_prefixes=question.allowed_prefixes)
    task = factory.task(question.initial)
    sites = Sites.of(question.records, question.truth, picture)
    case = _Case(
        question=question,
        task=task,
        model=published(factory, place, question.records, tuple(sites.datalists)),
        sites=sites,
        nobody=_nobody(question, sites),
        classes=manifest.known_task().num_classes,
        picture=picture,
        generator=torch.Generator(),
    )
    content: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "record": manifest.identity(),
        "model": {
            "sha256": hashlib.sha256(place.read_bytes()).hexdigest(),
            "sites": list(sites.datalists),
        },
        "seed": question.seed,
        "not_tested": [],
    }
    for name, ask in ((MEMBERSHIP, _membership), (INVERSION, _inversion)):
        case.generator.manual_seed(question.seed)
        try:
            content[name] = ask(case)
        except (ValueError, ArithmeticError, RuntimeError) as error:
            why = " ".join(str(error).split())
            content["not_tested"].append({"what": name, "why": why})
    return content


def _nobody(question: Question, sites: Sites) -> Group | None:
    """Images of nobody's: given, else what sites held out."""
    if question.nonmembers is not None:
        return lists.load_group(question.nonmembers, sites.picture, "nonmembers")
    return sites.held_out()


def _membership(case: _Case) -> dict[str, Any]:
    question, sites, nobody = case.question, case.sites, case.nobody
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
    candidates = lists.load_group(question.candidates, case.picture, "candidates")
    public = lists.load_group(question.references, case.picture, "references")
    lists.check_apart(candidates, nobody, sites.trained)
    lists.check_public(public, (candidates, nobody), sites.trained)
    if public.labels is None:
        raise ValueError("References have no classes to learn: give a datalist, not a folder.")
    background, nulls = halves(nobody, seed=question.seed)
    member = None if sites.trained is None else lists.within(candidates, sites.trained)
    training = question.training
    references = train_references(case.task, public.images, public.labels, training, case.generator)
    scored, found = assess(
        case.task,
        case.model,
        references,
        Groups(candidates=candidates, member=member, background=background, nulls=nulls),
        question.score,
        training,
        case.generator,
    )
    found = replace(found, views_known=sites.views_known, contradicted=sites.doubt)
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
    said = {"images": len(public), "models": training.models, "epochs": training.epochs}
    return {"score": question.score, "rule": RULE, "references": said, **own}


def _inversion(case: _Case) -> dict[str, Any]:
    question, nobody = case.question, case.nobody
    if question.inversion is None:
        raise ValueError("Inversion of the model was left out.")
    if nobody is None or nobody.labels is None or case.sites.known is None:
        raise ValueError(
            "What comes out of a model is compared with all sites' training images and with images "
            "of nobody's: give --truth with a list of every site, and --nonmembers."
        )
    members = case.sites.training_images()
    size, channels = case.picture
    found = examine(
        case.model,
        case.task,
        members,
        (nobody.images, nobody.labels),
        case.classes,
        load_prior(question.prior, size, channels),
        question.inversion,
        question.training,
        case.generator,
    )
    found = replace(found, doubt=case.sites.doubt)
    return {"images": question.inversion.images, "training_images": len(members)} | found.as_json()
