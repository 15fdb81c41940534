"""What row spaces tell."""

import dataclasses

import torch
from tests.inversion.evidence.rounds import client, saying, smooth, trained_once
from torch import nn

from medleak.inversion.evidence.reading import Reading
from medleak.inversion.evidence.sources.row_space import SOURCE, usable


def test_a_layer_says_how_many_images_it_can_tell_apart_and_why_not_more():
    told = {t.layer: t for t in SOURCE.tell(Reading(client(smooth(2), torch.tensor([1, 0]))))}
    deep = told["layer4.0.conv2"]
    assert (deep.useful, deep.rank, deep.expected) == (True, 31, 31)
    assert deep.images == 4  # 71 of 72 channels, 16 places
    early = told["layer3.0.conv2"]
    assert not early.useful
    assert early.rank is None
    assert "do not fit" in early.words


def test_what_stands_out_less_than_asked_is_not_used():
    reading = Reading(client(smooth(1), torch.tensor([1])), min_gap=1e9)
    spans = reading.row_spaces
    assert spans
    assert not any(usable(reading, s) for s in spans.values())
    assert not any(t.useful for t in SOURCE.tell(reading))


def test_an_update_that_is_no_sum_of_gradients_is_not_said_to_lack_room():
    observation = saying(client(smooth(1), torch.tensor([1])), optimizer="lamb")
    told = [t for t in SOURCE.tell(Reading(observation)) if "zero" not in t.words]
    assert told
    assert all(t.words == "the update of lamb is no sum of gradients" for t in told)


class Tokens(nn.Module):
    """Patches of 8 x 8 pixels as tokens of a linear layer that has room for them."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 64, 8, 8)
        self.linear = nn.Linear(64, 48)
        self.head = nn.Linear(48, 2)

    def forward(self, x):
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        return self.head(self.linear(tokens).relu().mean(1))


def test_tokens_are_told_after_a_step_of_sgd_and_of_adam_the_reason_why_not():
    torch.manual_seed(0)
    observation = trained_once(Tokens(), smooth(1), torch.tensor([1]))
    (told,) = [t for t in SOURCE.tell(Reading(observation)) if t.layer == "linear"]
    assert (told.useful, told.rank, told.expected, told.positions) == (True, 16, 16, 16)
    # Adam's first step from the same gradient, which SGD's update holds times its rate of 0.01.
    update = {}
    for name, value in observation.parameter_update.items():
        gradient = value / -0.01
        update[name] = -0.01 * gradient / (gradient.abs() + 1e-8)
    adam = saying(dataclasses.replace(observation, _update=update), optimizer="adam")
    assert Reading(adam).undone is not None
    (told,) = [t for t in SOURCE.tell(Reading(adam)) if t.layer == "linear"]
    assert not told.useful
    assert told.words == "a step of adam is not completed in linear layers"
