"""HTML from the templates: escaped texts, and a policy that lets nothing but our own parts run."""

import base64
import hashlib
import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup, escape

from medleak.inversion.report import wording
from medleak.inversion.report.html.compare import gain_text
from medleak.inversion.report.texts import short
from medleak.inversion.report.verdicts import light_of


def as_script_data(content: Mapping[str, Any]) -> Markup:
    """JSON that cannot end the script element that it stands in."""
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # escaped above


def _plain(value: Any) -> str:
    """A value from a JSON file, for a cell."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _lines(value: Any) -> str:
    """A value from a JSON file as lines to copy."""
    return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)


def _breakable(text: str) -> Markup:
    """A defence's text, to be broken between its settings rather than within a word."""
    return escape(text).replace(",", Markup(",<wbr>")).replace(":", Markup(":<wbr>"))


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("medleak.inversion.report", "assets"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "figure": wording.figure,
        "gain": gain_text,
        "short": short,
        "capitalize_first": lambda text: text[:1].upper() + text[1:],
        "breakable": _breakable,
        "plain": _plain,
        "lines": _lines,
    }
    environment.globals |= {"light_of": light_of, "zip": zip}
    return environment


def _asset(name: str) -> str:
    return (files("medleak.inversion.report") / "assets" / name).read_text(encoding="utf-8")


def fill(name: str, context: Mapping[str, Any]) -> bytes:
    """The template ``name`` with style and script of ours, and the policy that allows those."""
    style, script = _asset("report.css"), _asset("report.js")
    policy = "; ".join(
        [
            "default-src 'none'",
            "img-src data:",
            f"style-src {_hash(style)}",
            f"script-src {_hash(script)}",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    template = _environment().get_template(name)
    own = {"style": Markup(style), "script": Markup(script)}  # files of ours
    return template.render(**context, **own, policy=policy).encode()


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
