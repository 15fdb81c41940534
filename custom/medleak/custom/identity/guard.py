"""Names that leave a site, compared with what its files say of a patient, an order, a study."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from medleak.custom.data.data_error import DataError
from medleak.custom.identity.values import Value, matches


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaving:
    """What goes to the server, into records and into reports.

    Attributes:
        classes: Names of the classes.
        name: Of the set: dataset.json holds it.
        sites: Names of the sites.
        allowed: Names that a person looked at and that are nobody's.
    """

    classes: Sequence[str]
    name: str = ""
    sites: Sequence[str] = ()
    allowed: Sequence[str] = ()


class Guard:
    """Compares what files say with the names that leave; the first hit is the error."""

    def __init__(self, leaving: Leaving) -> None:
        """Nothing has been seen yet."""
        self._leaving = leaving
        self._seen: set[tuple[str, str, str]] = set()

    def see(self, values: Iterable[Value], of_class: str, number: int) -> None:
        """Compare the ``values`` of the file ``number`` (from 1), which is of ``of_class``.

        Raises:
            DataError: A name is, or holds, one of them: the place is said, never the value.
        """
        for value in values:
            key = (value.kind, value.text, of_class)
            if key in self._seen:
                continue
            self._seen.add(key)
            if (where := self._hit(value, of_class)) is not None:
                raise DataError(
                    f"{where} is, or holds, what {value.place} of file {number} says (files in the "
                    "order in which they are read, names in theirs; neither is shown here): it "
                    "would go to the server, into records and into reports. Rename it; or, if it "
                    "is nobody's, give it by --allow-name."
                )

    def see_patient(self, patient: str, of_class: str, number: int) -> None:
        """Compare the patient that the name of file ``number``, or of its folder, tells.

        Raises:
            DataError: As `see`.
        """
        kind = "identifier" if any(c.isdigit() for c in patient) else "person"
        self.see([Value(patient, kind, "the patient in the name")], of_class, number)

    def _hit(self, value: Value, of_class: str) -> str | None:
        leaving = self._leaving
        for k, name in enumerate(leaving.classes, start=1):
            if name not in leaving.allowed and matches(value, name, own=name == of_class):
                return f"The name of class {k} of {len(leaving.classes)}"
        if leaving.name not in leaving.allowed and matches(value, leaving.name, own=True):
            return "The name of the set's folder"
        for k, name in enumerate(leaving.sites, start=1):
            if name not in leaving.allowed and matches(value, name, own=False):
                return f"The name of site {k} of {len(leaving.sites)}"
        return None
