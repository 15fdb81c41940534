"""The NVFlare filter of a defence that needs no options of its own, made from its record."""

import dataclasses
import inspect
from typing import Any

from medleak.filters.adapters.defence import DefenceFilter
from medleak.filters.defences.defence import Defence
from medleak.filters.registry import DefenceRow

_MORE = {"tasks": ("train",), "seed": None}  # of every defence's filter; see DefenceFilter


def filter_of(row: DefenceRow) -> type[DefenceFilter]:
    """A filter called as the defence's class, with its fields as arguments.

    The signature is explicit and every argument an attribute, as NVFlare's job exporter reads
    both; fields without a default stay required.
    """
    fields = [f for f in dataclasses.fields(row.make) if f.init]  # pyright: ignore[reportArgumentType]
    defaults: dict[str, Any] = {f.name: _default(f) for f in fields} | _MORE
    parameters = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default)
        for name, default in defaults.items()
    ]
    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    signature = inspect.Signature([own, *parameters])

    def __init__(self: DefenceFilter, **kwargs: Any) -> None:
        """Take the defence's parameters, the protected tasks, and (tests only) a seed."""
        bound = signature.bind(self, **kwargs)
        bound.apply_defaults()
        args = {name: bound.arguments[name] for name in defaults}
        vars(self).update(args)
        used: Defence = row.make(**{f.name: args[f.name] for f in fields})
        # Metrics that travel beside the update have no noise: under a guarantee they stay home.
        metrics = "drop" if row.formal else "pass"
        DefenceFilter.__init__(self, used, tasks=args["tasks"], seed=args["seed"], metrics=metrics)

    __init__.__signature__ = signature  # pyright: ignore[reportFunctionMemberAccess]
    content = {
        "__doc__": f":class:`{row.make.__module__}.{row.make.__name__}` as a filter.",
        "__init__": __init__,
        "_always_serialize_args": (*(f.name for f in fields), "tasks"),
    }
    return type(row.make.__name__, (DefenceFilter,), content)


def _default(field: "dataclasses.Field[Any]") -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return inspect.Parameter.empty
