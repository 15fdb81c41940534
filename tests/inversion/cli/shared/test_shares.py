import json

import pytest

from medleak.inversion.cli.shared.shares import read_shares


def test_shares_are_read_by_attribute_and_site(tmp_path):
    content = {"women": {"site-1": 0.4, "site-2": 1}}
    (tmp_path / "s.json").write_text(json.dumps(content))
    assert read_shares(tmp_path / "s.json") == content
    assert read_shares(None) == {}


@pytest.mark.parametrize(
    "text", ["", "[]", '{"women": 0.4}', '{"women": {"a": 2}}', '{"women": {"a": true}}']
)
def test_what_holds_no_shares_is_refused(tmp_path, text):
    (tmp_path / "s.json").write_text(text)
    with pytest.raises(ValueError, match="holds no shares"):
        read_shares(tmp_path / "s.json")
