"""Tests of medleak.inversion.schedule: what an attacker sees of how the site trained."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from medleak.custom.record import TaskSpec, UnknownError, UpdateInfo
from medleak.inversion.knowledge import Knowledge, KnowledgeError
from medleak.inversion.schedule import SeenSchedule

TASK = TaskSpec(num_classes=2)
SAID: dict[str, Any] = {"n_images": 6, "n_steps": 2, "batch_size": 4, "local_epochs": 1, "lr": 0.25}


def said(**more: Any) -> dict[str, Any]:
    """What the site says, but for ``more``."""
    return SAID | more


def see(
    knowledge: Knowledge | None = None,
    *,
    counted: int | None = None,
    task: TaskSpec | None = TASK,
    **info: Any,
):
    """One update as seen; ``counted``: passes in its norm layers, None where none has counters."""
    counters = {} if counted is None else {"bn.num_batches_tracked": torch.tensor(float(counted))}
    return SeenSchedule(
        knowledge=knowledge or Knowledge(),
        _update=counters,
        _info=UpdateInfo(**{"round": 3, "site": "site-9", "time": "2026-01-01T00:00:00Z"} | info),
        _task=task,
    )


NEEDS = {
    "batch_size": ("batch_size", "n_steps", "local_epochs"),
    "lr": ("lr", "momentum", "weight_decay", "betas", "eps", "clip_norm"),
    "n_images": ("n_images",),
}


@pytest.mark.parametrize(
    ("field", "need"), [(field, need) for field, needs in NEEDS.items() for need in needs]
)
def test_what_is_withheld_raises_by_name_and_what_is_granted_does_not(field, need):
    getattr(see(**SAID), need)
    with pytest.raises(KnowledgeError, match=f"{field} is withheld"):
        getattr(see(replace(Knowledge(), **{field: False}), **SAID), need)


def test_the_counter_tells_the_steps_even_if_the_site_says_otherwise():
    assert see(Knowledge(batch_size=False), counted=5, **SAID).n_steps == 5
    assert see(Knowledge(bn_statistics=False), counted=5, **SAID).n_steps == 2


def test_without_counters_the_steps_come_with_the_batch_size():
    assert see(**SAID).n_steps == 2
    with pytest.raises(KnowledgeError):
        _ = see(Knowledge(batch_size=False), **SAID).n_steps


@pytest.mark.parametrize("counted", [None, 0])
def test_norms_in_evaluation_mode_count_nothing_and_the_site_is_asked(counted):
    assert see(counted=counted, **said(n_steps=3)).n_passes == 3


def test_passes_are_steps_times_what_a_step_accumulates():
    seen = see(**SAID, accumulation_steps=4)
    assert (seen.n_steps, seen.n_passes) == (2, 8)
    counted = see(counted=7, **SAID, accumulation_steps=4)  # the last step is a short one
    assert (counted.n_steps, counted.n_passes) == (2, 7)


@pytest.mark.parametrize(("counted", "expected"), [(8, 4), (7, 1), (None, 1)])
def test_accumulation_that_nobody_said_is_read_from_counters_that_divide(counted, expected):
    assert see(counted=counted, **SAID).accumulation_steps == expected


def test_the_images_of_a_pass_are_told_from_those_of_a_step_by_the_counters():
    of_a_step = see(counted=4, n_images=8, batch_size=8, n_steps=1, accumulation_steps=4)
    of_a_pass = see(counted=4, n_images=8, batch_size=2, n_steps=1, accumulation_steps=4)
    assert of_a_step.batch_size == of_a_pass.batch_size == 2
    assert see(**said(batch_size=64)).batch_size == SAID["n_images"]


ASKED = ("n_images", "batch_size", "local_epochs", "lr", "n_steps")


def test_what_the_record_does_not_say_is_refused_only_where_it_is_asked_for():
    seen = see()
    assert (seen.optimizer, seen.momentum, seen.weight_decay) == ("sgd", 0.0, 0.0)
    assert (seen.betas, seen.eps, seen.clip_norm) == ((0.9, 0.999), 1e-8, None)
    assert (seen.accumulation_steps, seen.precision, seen.state_kept) == (1, "float32", False)
    assert seen.augmentation is None
    for field in ASKED:
        assert seen.source(field) == "unknown"
        with pytest.raises(UnknownError, match=f"Not known: .*--schedule {field}="):
            getattr(seen, field)


def test_what_the_record_says_of_the_optimiser_is_seen():
    said = {"betas": (0.8, 0.9), "eps": 1e-4, "clip_norm": 1.0, "accumulation_steps": 8}
    rest = {"precision": "bfloat16", "state_kept": True, "augmentation": ("hflip",)}
    seen = see(optimizer="adamw", **said, **rest)
    assert seen.optimizer == "adamw"
    for field, value in (said | rest).items():
        assert getattr(seen, field) == value
        assert seen.source(field) == "declared"


def test_an_unknown_loss_is_missed_by_those_alone_who_need_it():
    seen = see(task=None, **SAID)
    assert seen.lr == 0.25
    for ask in (lambda: seen.criterion, lambda: seen.num_classes, seen.check_replay):
        with pytest.raises(UnknownError, match=r"training loss\. Give --task"):
            ask()


def test_a_loss_that_is_not_computed_here_cannot_be_repeated():
    with pytest.raises(ValueError, match=r"'focal'.*needs no labels"):
        see(task=TaskSpec(num_classes=2, criterion="focal")).check_replay()
    masks = TaskSpec(num_classes=2, criterion="segmentation_cross_entropy")
    with pytest.raises(ValueError, match=r"trained on masks.*Use row_space"):
        see(task=masks).check_replay()


def test_an_optimiser_that_is_not_repeated_here_is_refused():
    see(optimizer="sgd").check_replay()
    with pytest.raises(ValueError, match=r"sgd_fedprox.*Use row_space"):
        see(optimizer="sgd_fedprox").check_replay()


@pytest.mark.parametrize("said", [{"optimizer": "adam"}, {"optimizer": "sgd", "momentum": 0.9}])
def test_state_of_an_earlier_round_that_nobody_knows_is_refused(said):
    kept = see(**said, state_kept=True)
    assert not kept.fresh_state
    with pytest.raises(ValueError, match=r"keeps .* state over rounds.*first round"):
        kept.check_replay()
    first = see(**said, state_kept=True, round=0)
    assert first.fresh_state
    first.check_replay()
    see(optimizer="sgd", state_kept=True).check_replay()  # plain SGD has no state
