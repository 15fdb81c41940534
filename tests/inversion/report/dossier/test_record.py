import json
from pathlib import Path

import jsonschema
import pytest
from pydantic import ValidationError

from medleak.inversion.report.dossier import record
from medleak.inversion.report.dossier.record import Evidence, schema

PUBLISHED = Path(record.__file__).with_name("evidence.schema.json")


def test_the_published_schema_is_that_of_the_records():
    # Where a record was changed on purpose, write json.dumps(schema(), indent=2) there.
    assert json.loads(PUBLISHED.read_text()) == schema()
    jsonschema.Draft202012Validator.check_schema(schema())


def test_what_is_written_is_by_the_schema(signed):
    content = json.loads((signed / "evidence.json").read_text())
    validator = jsonschema.Draft202012Validator(json.loads(PUBLISHED.read_text()))
    assert not [error.message for error in validator.iter_errors(content)]
    assert Evidence.model_validate(content).model_dump(mode="json") == content


@pytest.mark.parametrize(
    "change",
    [
        {"format_version": 2},
        {"attack_classes": []},
        {"extra": 1},
        {"files": [{"name": "a", "bytes": 1, "sha256": "x"}]},
        {"sites": [{"site": "a", "verdict": "safe", "why": "", "who_was_in": ""}]},
    ],
)
def test_schema_and_records_refuse_alike(signed, change):
    content = json.loads((signed / "evidence.json").read_text()) | change
    validator = jsonschema.Draft202012Validator(json.loads(PUBLISHED.read_text()))
    assert not validator.is_valid(content)
    with pytest.raises(ValidationError):
        Evidence.model_validate(content)
