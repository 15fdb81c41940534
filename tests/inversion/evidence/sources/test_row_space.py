"""What row spaces tell."""

import torch
from tests.inversion.evidence.rounds import client, saying, smooth

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
