"""Options by the group: one parameter of a command, a record, stands for an option a field."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Wrap a command so that Typer sees the fields of its records in the place of the records.

    A parameter whose annotation is a dataclass is such a record. Its fields are annotated as
    parameters of a Typer command are, each with a default, and give it options in their order.

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True, kw_only=True)
    ... class Machine:
    ...     device: str = "cpu"
    ...     threads: int = 1
    >>> @grouped
    ... def train(epochs: int, *, machine: Machine):
    ...     print(epochs, machine)
    >>> list(inspect.signature(train).parameters)
    ['epochs', 'device', 'threads']
    >>> train(epochs=2, device="cuda", threads=4)
    2 Machine(device='cuda', threads=4)

    Raises:
        ValueError: Two options have the same name.
    """
    groups: dict[str, Any] = {}
    seen: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        if is_dataclass(parameter.annotation):
            groups[parameter.name] = parameter.annotation
            seen += map(_option, fields(parameter.annotation))
        else:
            seen.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))

    @functools.wraps(command)
    def wrapped(**given: Any) -> None:
        for name, group in groups.items():
            given[name] = group(**{f.name: given.pop(f.name) for f in fields(group)})
        command(**given)

    vars(wrapped)["__signature__"] = inspect.Signature(seen)
    return wrapped


def _option(field: Field[Any]) -> inspect.Parameter:
    made = field.default if field.default_factory is MISSING else field.default_factory()
    return inspect.Parameter(
        field.name, inspect.Parameter.KEYWORD_ONLY, default=made, annotation=field.type
    )
