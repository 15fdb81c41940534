"""What a client's update shows of its images."""

import pytest
import torch

from medleak.inversion.evidence.one_round import read_evidence
from medleak.inversion.evidence.several_rounds import join


@pytest.fixture
def evidence(observed, smooth_images, resnet_spec):
    def make(n=1, **more):
        images = smooth_images(n, size=32)
        observation = observed(images, torch.arange(n) % 2, resnet_spec, **more)
        return join([read_evidence(observation, min_gap=0.0)])

    return make
