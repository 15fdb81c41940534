"""Sphinx directive `medleak-commands`: every command with its options, read from the program."""

import inspect
from collections.abc import Iterator
from typing import Any

import typer
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from medleak.inversion.cli import app as medleak


def commands(command: Any, path: str = "medleak") -> Iterator[tuple[str, Any]]:
    """Every command below ``command`` that does something, by its full name."""
    if not hasattr(command, "commands"):
        yield path, command
    for name, child in getattr(command, "commands", {}).items():
        yield from commands(child, f"{path} {name}")


class CommandPages(SphinxDirective):
    """One section a command: what it does, how it is called, its arguments and options."""

    def run(self) -> list[nodes.Node]:
        """The sections."""
        root = typer.main.get_command(medleak)
        return [self._section(name, command) for name, command in commands(root)]

    def _section(self, name: str, command: Any) -> nodes.section:
        section = nodes.section(ids=[name.replace(" ", "-")], names=[name])
        section += nodes.title(text=name)
        about = inspect.cleandoc(command.help or "").replace("\b", "")
        for text in about.split("\n\n"):
            section += nodes.paragraph(text=" ".join(text.split()))
        listed = nodes.definition_list()
        for parameter in command.params:
            if parameter.name != "help" and not getattr(parameter, "hidden", False):
                listed += _item(parameter)
        section += listed
        return section


def _item(parameter: Any) -> nodes.definition_list_item:
    names = parameter.opts + parameter.secondary_opts
    if parameter.param_type_name == "argument":
        names = [(parameter.metavar or parameter.name).upper()]
    term = nodes.term()
    for k, name in enumerate(names):
        term += [nodes.Text(", ")] * bool(k)
        term += nodes.literal(text=name)
    about = parameter.help or ""
    if parameter.default not in (None, (), [], False, "") and not callable(parameter.default):
        about += f" Default: {_plain(parameter.default)}."
    item = nodes.definition_list_item()
    item += [term, nodes.definition("", nodes.paragraph(text=about))]
    return item


def _plain(default: Any) -> str:
    if isinstance(default, (list, tuple)):
        return ", ".join(map(str, default))
    return str(getattr(default, "value", default))


def setup(app: Sphinx) -> dict[str, bool]:
    """Make the directive known to Sphinx."""
    app.add_directive("medleak-commands", CommandPages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
