"""Tests of candidate images against evidence."""

from dataclasses import fields, replace

import pytest
import torch
from tests.inversion.evidence.rounds import client, compare, smooth

from medleak.inversion.evidence.one_round import read_evidence
from medleak.inversion.evidence.several_rounds import join
from medleak.inversion.evidence.terms import Compared, misfit, outside, part, terms


@pytest.mark.parametrize("channels", [1, 3])
def test_at_the_true_image_every_loss_is_zero_and_far_from_it_none_is(channels):
    truth = smooth(1, channels)
    evidence = read_evidence(client(truth, torch.tensor([1])))
    assert evidence.norms
    assert any("layer3" in n for n in evidence.spans)
    assert any("layer4" in n for n in evidence.spans)
    for name in evidence.spans:
        assert terms(join([evidence]), truth, Compared(spans=[name])).span.item() == pytest.approx(
            0, abs=1e-4
        )
    found = compare(evidence, truth)
    assert found.statistics.item() == pytest.approx(0, abs=1e-4)
    other = compare(evidence, smooth(1, channels, seed=1))
    assert other.statistics.item() > 0.1
    assert other.span.item() > 0.05


def test_losses_have_a_gradient():
    evidence = read_evidence(client(smooth(1), torch.tensor([1])))
    images = smooth(1, seed=1).requires_grad_(True)
    found = compare(evidence, images)
    for value in (found.statistics, found.span, found.span_root):
        assert value.requires_grad
        (gradient,) = torch.autograd.grad(value, images, retain_graph=True)
        assert gradient.abs().sum() > 0


def test_the_parts_of_all_steps_make_the_misfit_of_the_round():
    truth = smooth(2)
    evidence = read_evidence(client(truth, torch.tensor([1, 0]), batch_size=1, lr=0.001))
    parts = [part(evidence, k, truth[s.images]) for k, s in enumerate(evidence.steps)]
    found = compare(evidence, truth)
    whole = float(found.statistics + (found.span_root if evidence.spans else 0))
    assert misfit(evidence, parts) == pytest.approx(whole, rel=0.05, abs=1e-3)
    swapped = [part(evidence, k, truth.flip(0)[s.images]) for k, s in enumerate(evidence.steps)]
    assert misfit(evidence, swapped) > 2 * misfit(evidence, parts)


def test_each_row_space_has_its_own_share_outside():
    rounds = join([read_evidence(client(smooth(1), torch.tensor([1])))])
    assert max(outside(rounds, smooth(1))) < 1e-4
    other = smooth(1, seed=1)
    alone = [float(terms(rounds, other, Compared(spans=[n])).span) for n in rounds.spans]
    assert outside(rounds, other) == pytest.approx(alone, rel=1e-4)


def test_nothing_is_compared_where_nothing_was_asked_for():
    evidence = read_evidence(client(smooth(1), torch.tensor([1])))
    found = terms(join([evidence]), smooth(1), Compared())
    assert all(float(getattr(found, f.name)) == 0 for f in fields(found))
    everything = Compared(norms=["gone"], spans=["gone"], features=["gone"])
    assert everything.shown_by(evidence) == Compared(norms=[], spans=[], covers=[], features=[])


class Clue:
    """Half of what its layer's input differs by from a known one."""

    def __init__(self, name, there):
        self.inputs, self._there = (name,), there

    def misfit(self, inputs):
        return (inputs[self.inputs[0]] - self._there).square().mean()


def test_clues_of_a_further_source_are_compared_where_all_evidence_is():
    truth = smooth(1)
    evidence = read_evidence(client(truth, torch.tensor([1])))
    name = next(iter(evidence.spans))
    there = next(iter(evidence.probes.values())).run(truth, inputs=[name]).inputs[name]
    rounds = join([replace(evidence, clues={"further": {name: Clue(name, there)}})])
    assert rounds.clues == {"further": (name,)}
    for images, near in ((truth, True), (smooth(1, seed=1), False)):
        found = terms(rounds, images, Compared(clues=rounds.clues))
        assert (float(found.clues) < 1e-8) == near
    assert float(terms(rounds, smooth(1, seed=1), Compared()).clues) == 0
