"""Settings of which others have published figures."""

from dataclasses import replace

import torch
from clients import DataSet
from recording import record_of_round

from families.frame import Case, Client, Images
from medleak.custom.record import ModelSpec
from medleak.inversion.knowledge import Knowledge
from medleak.inversion.networks import build_network

_SET = "cifar10"
_SIZE = 32
_RESNET = {
    "block": "basic",
    "layers": [2, 2, 2, 2],
    "block_inplanes": [64, 128, 256, 512],
    "spatial_dims": 2,
    "n_input_channels": 3,
    "conv1_t_size": 3,
    "conv1_t_stride": 1,
    "no_max_pool": True,
}


def cifar_resnet18_4x2(images: Images, seed: int) -> Client:
    """Four colour images in four steps of two, labels known; batch norms in evaluation mode.

    As breaching's ``fedavg`` example has it: random weights, buffers that the server publishes. On
    CIFAR-10 where it lies beside the images, else on the images themselves.
    """
    beside = images.data.root.parent / _SET
    if beside.is_dir():
        images = replace(images, data=DataSet.open(beside))
    truth, labels = images.drawn(seed, 4, _SIZE, 3)
    model = ModelSpec(
        path="monai.networks.nets.ResNet", args={**_RESNET, "num_classes": images.classes}
    )
    network = build_network(model.path, model.args)
    batches = [*zip(truth.split(2), labels.split(2), strict=True)]
    record = record_of_round(
        network,
        model,
        batches * 2,
        optimizer=torch.optim.SGD(network.parameters(), lr=1e-3),
        classes=images.classes,
        channels=3,
        frozen_norms=True,
        declared={"n_images": 4, "local_epochs": 2},
    )
    return Client(
        record=record,
        truth=truth,
        prior=images.prior(_SIZE, 3),
        labels=labels,
        knowledge=Knowledge(labels="known"),
    )


CASES = {"cifar-resnet18-4x2": Case(make=cifar_resnet18_4x2, psnr=35, clients=3)}
