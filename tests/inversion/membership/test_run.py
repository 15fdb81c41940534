from dataclasses import replace

import pytest
from PIL import Image, ImageEnhance
from tests.inversion.membership.federations import asked

from medleak.custom.data.datalist import Item, load_datalist, save_datalist
from medleak.inversion.membership.assessor import Question
from medleak.inversion.membership.run import Plan, assess_run


def plan(case, **changes):
    question = Question(candidates=case.candidates, nonmembers=case.nonmembers, truth=case.truth)
    return replace(Plan(records=case.records, question=question), **changes)


def test_members_of_a_site_are_found_and_another_site_is_the_null(tmp_path):
    first, second = assess_run(plan(asked(tmp_path)))
    assert first.verdict is not None
    assert first.found is not None
    assert first.found.separation is not None
    assert first.verdict.kind == "leaks"
    assert first.found.separation.auc.value > 0.95
    assert [n.members for n in first.found.nulls] == [6]
    assert first.found.easy is not None
    assert first.found.easy > 0.95
    assert [row["member"] for row in first.candidates] == [True] * 6 + [False] * 14
    # None of the candidates was site-2's: there is nothing to tell apart.
    assert second.found is not None
    assert second.found.separation is None
    assert second.verdict is not None
    assert second.verdict.kind in ("not_measured", "inconclusive")
    summary = first.summary()
    assert summary["separation"]["members"] == 6
    assert summary["verdict_kind"] == "leaks"


def test_under_noise_that_hides_all_nobody_is_told_and_few_images_prove_nothing(tmp_path):
    (found,) = assess_run(plan(asked(tmp_path, noise=10.0), sites=["site-1"]))
    assert found.verdict is not None
    assert found.verdict.kind == "inconclusive"
    assert found.found is not None
    assert found.found.recognised == 0


def test_unknown_augmentation_is_a_doubt(tmp_path):
    (found,) = assess_run(
        plan(asked(tmp_path, noise=10.0, augmentation=None), sites=["site-1"], easy=False)
    )
    assert "augmentation" in str(found.verdict)
    assert "no evidence" in str(found.verdict)


def test_a_bad_update_is_refused_and_the_others_are_done(tmp_path):
    case = asked(tmp_path)
    (case.records / "round_0000" / "site-1.safetensors").write_bytes(b"no")
    first, second = assess_run(plan(case, easy=False))
    assert first.refused
    assert first.summary().keys() == {"round", "site", "refused"}
    assert second.verdict is not None


def test_without_certain_non_members_nothing_is_examined(tmp_path):
    case = asked(tmp_path)
    question = Question(candidates=case.candidates, truth=case.truth)
    (found,) = assess_run(plan(case, question=question, sites=["site-1"]))
    assert "--nonmembers" in str(found.refused)


@pytest.mark.parametrize(
    ("changes", "why"),
    [({"sites": ["site-9"]}, "Site site-9 is not in"), ({"score": "lira"}, "Unknown membership")],
)
def test_what_cannot_be_asked_is_refused_at_once(tmp_path, changes, why):
    with pytest.raises(ValueError, match=why):
        list(assess_run(plan(asked(tmp_path), **changes)))


@pytest.mark.parametrize("score", ["loss_drop", "gradient_cosine", "loss_after"])
def test_the_usual_scores_run_too(tmp_path, score):
    (found,) = assess_run(plan(asked(tmp_path), sites=["site-1"], score=score, easy=False))
    assert found.refused is None
    assert found.verdict is not None


def saved_anew(item, folder):
    """The same film, as another program exports it: a little brighter, as JPEG."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{item.image.rpartition('/')[2]}.jpg"
    with Image.open(item.image) as image:
        ImageEnhance.Brightness(image.convert("L")).enhance(1.1).save(path, quality=90)
    return Item(str(path), item.label, f"copy of {item.patient}")


def with_candidates(case, items):
    path = case.candidates.with_name("lie.json")
    save_datalist(path, {"training": items})
    question = Question(candidates=path, nonmembers=case.nonmembers, truth=case.truth)
    return plan(case, question=question, sites=["site-1"], easy=False)


@pytest.mark.parametrize(
    ("lie", "kind", "why"),
    [
        ("copies", "inconclusive", "6 images that were not in are almost one that was"),
        ("same patients", "inconclusive", "6 patients have images that were in and others"),
        ("one", "not_measured", "all of the candidates were in"),
        ("all members", "not_measured", "all of the candidates were in"),
        ("nobody", "not_measured", "none of the candidates were in"),
        ("few patients", "inconclusive", "of 1 patients, too few to tell"),
    ],
)
def test_a_list_that_makes_members_hard_to_tell_is_no_all_clear(tmp_path, lie, kind, why):
    case = asked(tmp_path, noise=10.0)
    items = load_datalist(case.candidates)["training"]
    members, others = items[:6], items[6:]
    listed = {
        "copies": [*members, *(saved_anew(i, tmp_path / "anew") for i in members), *others],
        "same patients": [
            *members,
            *(Item(o.image, o.label, m.patient) for o, m in zip(others, members, strict=False)),
        ],
        "one": members[:1],
        "all members": members,
        "nobody": others,
        "few patients": [*members, *(Item(o.image, o.label, "one") for o in others)],
    }[lie]
    (found,) = assess_run(with_candidates(case, listed))
    assert found.verdict is not None
    assert found.verdict.kind == kind
    assert why in str(found.verdict)


def test_copies_do_not_hide_a_leak(tmp_path):
    """Members and their copies are both told: the AUC falls, and the list says why."""
    case = asked(tmp_path)
    items = load_datalist(case.candidates)["training"]
    copies = [saved_anew(i, tmp_path / "anew") for i in items[:6]]
    (found,) = assess_run(with_candidates(case, [*items[:6], *copies, *items[6:8]]))
    assert found.verdict is not None
    assert found.verdict.kind in ("leaks", "inconclusive")
    assert found.found is not None
    assert found.found.copies == 6


def test_non_members_of_another_scanner_are_no_all_clear(tmp_path):
    """Dark films have no detail to lie outside of any update: a client without them says so."""
    case = asked(tmp_path, noise=10.0)
    items = load_datalist(case.candidates)["training"]
    dark = []
    for item in items[6:]:
        path = tmp_path / "dark" / item.image.rpartition("/")[2]
        path.parent.mkdir(exist_ok=True)
        with Image.open(item.image) as image:
            ImageEnhance.Contrast(image.convert("L")).enhance(0.02).save(path)
        dark.append(Item(str(path), item.label, item.patient))
    (found,) = assess_run(with_candidates(case, [*items[:6], *dark]))
    assert found.verdict is not None
    assert found.verdict.kind == "inconclusive"
