"""What the head tells."""

import torch
from tests.inversion.evidence.rounds import client, smooth

from medleak.inversion.evidence.reading import Reading
from medleak.inversion.evidence.sources.last_layer import SOURCE


def test_of_one_image_label_and_features_of_several_the_labels():
    (one,) = SOURCE.tell(Reading(client(smooth(1), torch.tensor([1]))))
    assert (one.rank, one.expected) == (1, 1)
    assert "the label and the features" in one.words
    (several,) = SOURCE.tell(Reading(client(smooth(2), torch.tensor([1, 0]))))
    assert several.words.startswith("labels of 2 images")
