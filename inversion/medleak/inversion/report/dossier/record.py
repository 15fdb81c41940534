"""evidence.json as records: the schema that is published is made of these."""

import datetime
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

FORMAT_VERSION = 1

Recipient = Literal["server", "sum", "final_model", "sites"]
Verdict = Literal[
    "leaks", "found, not identified", "may leak", "not known", "no leak found", "not tested"
]
Status = Literal["figures", "some figures", "no figure"]
Basis = Literal["text", "quoted", "headings", "secondary"]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Figure(_Record):
    """A figure and its 95 % interval; null: not known."""

    value: float | None = None
    lower95: float | None = None
    upper95: float | None = None


class Answer(_Record):
    """What is known of a class of attack by one recipient.

    ``worst`` is the largest figure of an image, site or update (``where``), ``mean`` the average of
    all; ``chance`` what chance, or a guess from public images, reaches.
    """

    recipient: Recipient
    verdict: Verdict
    words: str
    measure: str | None = None
    worst: Figure = Figure()
    where: str | None = None
    mean: Figure = Figure()
    chance: float | None = None


class AttackClass(_Record):
    """A class of attack, with an answer for each recipient that it is about."""

    name: str
    title: str
    asks: str
    source: str
    answers: Annotated[Sequence[Answer], Field(min_length=1)]
    elsewhere: str = ""


class Requirement(_Record):
    """What a source asks, and which figures of this audit speak to it.

    ``answered_by`` and ``open`` name answers (``class/recipient``) or facts; ``beyond`` is what no
    figure can decide. ``status`` says whether there are figures, not whether they are good ones.
    """

    place: str
    asks: str
    basis: Basis
    status: Status
    answered_by: Sequence[str]
    open: Sequence[str]
    beyond: str = ""


class Source(_Record):
    """A regulation, standard or guidance, and its requirements."""

    name: str
    title: str
    address: str
    requirements: Sequence[Requirement]


class Site(_Record):
    """The verdict of a site, as on the report's first page."""

    site: str
    verdict: Verdict
    why: str
    who_was_in: str


class Validity(_Record):
    """Of what, when and by what the audit was made, and what makes a repeat due."""

    made: Sequence[datetime.date]
    by: str
    covers: str
    due: Sequence[str]
    repeat_by: datetime.date | None = None


class File(_Record):
    """A file of the audit directory that the signature vouches for, by its relative name."""

    name: Annotated[str, Field(min_length=1)]
    bytes: Annotated[int, Field(ge=0)]
    sha256: Sha256


class Report(_Record):
    """The HTML file that was made at the same time; ``inside``: it is one of the files."""

    name: str
    sha256: Sha256
    inside: bool


class Evidence(_Record):
    """All that an audit says, for programs."""

    format: Literal["medleak evidence"] = "medleak evidence"
    format_version: Literal[1] = FORMAT_VERSION
    made: datetime.datetime
    medleak: str
    job: str
    updates: Annotated[int, Field(ge=0)]
    headline: str
    sites: Sequence[Site]
    attack_classes: Annotated[Sequence[AttackClass], Field(min_length=1)]
    validity: Validity
    sources: Sequence[Source]
    unknown: Sequence[str]
    limits: Sequence[str]
    report: Report
    files: Sequence[File]


def schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of evidence.json."""
    found = Evidence.model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found}
