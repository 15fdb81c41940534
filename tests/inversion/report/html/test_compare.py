"""Two audits beside each other, and what must not be compared is said."""

import dataclasses

import pytest
from tests.inversion.report.directories import KNOWLEDGE, a_figure, a_group, grid, report_of

from medleak.inversion.report.html.compare import compare, gain_text, summary
from medleak.inversion.report.reading import read_audit
from medleak.inversion.report.verdicts import Light


def test_the_same_site_and_attack_stand_in_one_line(directory, another):
    before = read_audit(directory.write([], [a_group("s", rdlv=a_figure(0.5)), a_group("gone")]))
    after = read_audit(another.write([], [a_group("s", rdlv=a_figure(0.01)), a_group("new")]))
    found = {c.site: c for c in compare(before, after).changes}
    assert (found["s"].light_before, found["s"].light_after) == (Light.LEAKS, Light.MAY_LEAK)
    assert found["gone"].after is None
    assert found["new"].before is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"prior": {"source": "gray"}}, "different priors"),
        ({"attacks": {"row_space": {"attempts": 9}}}, "different settings of the attacks"),
        ({}, None),
    ],
)
def test_what_makes_the_difference_doubtful_is_said(directory, another, change, words):
    before = read_audit(directory.write(grid(["s"])))
    after = read_audit(another.write(grid(["s"]), config=change))
    warnings = compare(before, after).warnings
    assert (warnings == []) if words is None else any(words in w for w in warnings)


def test_other_rounds_and_sites_are_said(directory, another):
    before = read_audit(directory.write(grid(["s"], rounds=2)))
    after = read_audit(another.write(grid(["t"], rounds=1)))
    warnings = " ".join(compare(before, after).warnings)
    assert "different rounds" in warnings
    assert "different sites" in warnings


def test_the_gallery_shows_before_and_after_and_the_verdict_is_of_the_second(
    directory, another, open_page
):
    rows = grid(["s"], rounds=1, leak={"s": 0.97})
    weak = grid(["s"], rounds=1, leak={"s": 0.3})
    declared = "percentile_gaussian:sigma0=10"
    weak = [dataclasses.replace(r, declared=declared) for r in weak]
    group = a_group("s", declared=declared, rdlv=a_figure(0.0))
    report = report_of(directory.write(rows), another.write(weak, [group]), originals="hidden")
    page = open_page(report)
    assert page.locator("h1").text_content().startswith("s may leak")
    headings = page.locator("#tiles h3").all_text_contents()
    assert headings == ["Original", "Guess", "Rebuilt, before", "Rebuilt, after"]
    sources = page.locator("#tiles img").evaluate_all("all => all.map(i => i.src)")
    assert len(set(sources)) == 3
    assert page.locator("#compare .light").all_inner_texts() == ["leaks", "may leak"]


def test_which_sites_became_worse_or_better_is_said_on_the_first_page(
    directory, another, open_page
):
    health = {f"row_space|{KNOWLEDGE}": {"ssim": 0.97, "reached": True}}
    nothing, may = a_figure(-0.5), a_figure(0.01)
    unmeasured = {"ssim": None, "rdlv": None}
    old = {"better": None, "worse": nothing, "same": None, "lost": None, "gone": None}
    new = {"better": nothing, "worse": may, "same": None, "lost": unmeasured, "new": nothing}

    def group(site, rdlv):
        fields = rdlv if rdlv is unmeasured else {"rdlv": rdlv}
        return a_group(site) if rdlv is None else a_group(site, **fields)

    before = directory.write([], [group(*i) for i in old.items()], health=health, pictures=False)
    after = another.write([], [group(*i) for i in new.items()], health=health, pictures=False)
    lines = summary(compare(read_audit(before), read_audit(after)))
    assert lines == [
        "Worse than before (no leak found): worse.",
        "In one of the two audits alone: new and gone.",
        "From leaks to not known, so better or worse cannot be said: lost.",
        "Better than before (leaks): better.",
        "As before (leaks): same.",
    ]
    page = open_page(report_of(before, after))
    text = page.locator("#verdict .first").first.inner_text()
    assert all(line in text for line in lines)
    assert "What this comparison can say is limited" in text


def test_one_or_two_audits_make_a_report_and_no_other_number(directory):
    folder = directory.write([], [])
    with pytest.raises(ValueError, match="one audit or compares two, got 3"):
        report_of(folder, folder, folder)
    with pytest.raises(ValueError, match="got 0"):
        report_of()


def paired(directory, another, **changed):
    """Two patients with two images each; after a defence each has 0.1 or 0.2 less."""
    rows = [
        dataclasses.replace(r, patient=r.reconstruction // 2, seed=0)
        for r in grid(["s"], rounds=1, images=4)
    ]
    fall = (0.1, 0.1, 0.2, 0.2)
    weak = [
        dataclasses.replace(r, ssim=(r.ssim or 0) - less, declared="sign", **changed)
        for r, less in zip(rows, fall, strict=True)
    ]
    before = read_audit(directory.write(rows, pictures=False))
    group = a_group("s", declared="sign")
    return before, read_audit(another.write(weak, [group], pictures=False))


def test_the_same_images_are_paired_and_their_patients_counted(directory, another):
    (change,) = compare(*paired(directory, another)).changes
    assert change.gain is not None
    assert change.gain.difference == pytest.approx(-0.15)
    assert (change.gain.n, change.gain.clusters) == (4, 2)
    # All signs of two patients: two of four are as far from 0.
    assert gain_text(change.gain).startswith("-0.15 [")
    assert gain_text(change.gain).endswith("(4 images, p = 0.5)")


@pytest.mark.parametrize("changed", [{"ssim_prior": 0.123}, {"seed": 7}, {"truth_image": None}])
def test_other_images_or_runs_are_not_paired(directory, another, changed):
    (change,) = compare(*paired(directory, another, **changed)).changes
    assert change.gain is None
    assert gain_text(change.gain) == "no image in both"


def test_one_patient_has_a_difference_without_interval(directory, another):
    before, after = paired(directory, another)
    one = [dataclasses.replace(audit, rows=audit.rows[:2]) for audit in (before, after)]
    (change,) = compare(*one).changes
    assert gain_text(change.gain) == "-0.10 (2 images, no interval)"


def test_the_paired_difference_stands_in_the_page(directory, another):
    before, after = paired(directory, another)
    html = report_of(before.folder, after.folder).html.decode()
    assert "-0.15 [" in html
