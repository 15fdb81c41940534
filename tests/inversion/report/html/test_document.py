"""Tests of HTML from templates: what is escaped, and what may run."""

import base64
import hashlib
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.inversion.report.directories import grid, report_of

from medleak.inversion.report.html.document import as_script_data


@given(st.dictionaries(st.text(max_size=10), st.text(max_size=30), max_size=3))
def test_data_read_back_as_they_were_and_hold_no_markup(content):
    text = str(as_script_data(content))
    assert json.loads(text) == content
    assert not set(text) & set("<>&")
    assert text.isascii()


def test_a_script_element_cannot_be_ended_from_within():
    assert "</script" not in str(as_script_data({"site": "</script><script>alert(1)</script>"}))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_json_does_not_know_is_an_error(value):
    with pytest.raises(ValueError, match="JSON"):
        as_script_data({"x": value})


def test_the_policy_allows_our_style_and_script_by_their_hash_and_nothing_else(directory):
    html = report_of(directory.write(grid(["site-1"]), pictures=False)).html.decode()
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy"\s+content="([^"]+)"', html)
    policy = policy.replace("&#39;", "'")
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    for element in ("style", "script"):
        contents = re.findall(rf"<{element}>(.*?)</{element}>", html, re.DOTALL)
        hashes = [base64.b64encode(hashlib.sha256(c.encode()).digest()).decode() for c in contents]
        assert any(f"{element}-src 'sha256-{h}'" in policy for h in hashes), element
