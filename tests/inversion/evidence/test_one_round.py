"""Known answers of medleak.inversion.evidence.one_round: at the true images every loss is zero."""

import pytest
import torch
from torch import Tensor, nn

from medleak.custom.record import InputSpec, Manifest, ModelSpec, Record, TaskSpec, UpdateInfo
from medleak.inversion.attacks.row_space.read_labels import read_labels
from medleak.inversion.evidence.one_round import Evidence, read_evidence
from medleak.inversion.evidence.several_rounds import join
from medleak.inversion.evidence.steps import client_steps
from medleak.inversion.evidence.terms import Compared, Terms, terms
from medleak.inversion.networks import build_network
from medleak.inversion.observation import Knowledge, Observation, observe

# At 32 px: 64 positions before layer3, 16 before layer4, so that one image leaves row spaces in
# both, two images in layer4 alone.
NETWORK = ModelSpec(
    path="monai.networks.nets.ResNet",
    args={
        "block": "basic", "layers": [1, 1, 1, 1], "block_inplanes": [8, 16, 72, 72],
        "spatial_dims": 2, "n_input_channels": 3, "conv1_t_size": 3, "conv1_t_stride": 1,
        "no_max_pool": True, "num_classes": 2,
    },
)  # fmt: skip
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def smooth(n: int, channels: int = 1, seed: int = 0) -> Tensor:
    coarse = torch.rand(n, channels, 6, 6, generator=torch.Generator().manual_seed(seed))
    return nn.functional.interpolate(coarse, size=32, mode="bicubic").clamp(0, 1)


def client(
    images: Tensor,
    labels: Tensor,
    *,
    batch_size: int | None = None,
    epochs: int = 1,
    lr: float = 0.01,
    statistics: bool = True,
    knowledge: Knowledge | None = None,
) -> Observation:
    """Real SGD on ``images``, observed."""
    network = build_network(NETWORK.path, NETWORK.args).train()
    for module in network.modules():  # MONAI starts norms at weight 1; give them something to say.
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    optimizer = torch.optim.SGD(network.parameters(), lr=lr)
    mean, std = torch.tensor([MEAN, STD])[..., None, None]
    size, steps = batch_size or len(images), 0
    for _ in range(epochs):
        for x, y in zip(images.split(size), labels.split(size), strict=True):
            optimizer.zero_grad()
            out = network((x.expand(-1, 3, -1, -1) - mean) / std)
            nn.functional.cross_entropy(out, y).backward()
            optimizer.step()
            steps += 1
    update = {k: v - before[k] for k, v in network.state_dict().items()}
    if not statistics:
        update = {k: v for k, v in update.items() if "running" not in k}
    record = Record(
        manifest=Manifest(
            job="test", created="2026-01-01T00:00:00Z", model=NETWORK,
            task=TaskSpec(num_classes=2),
            input=InputSpec(
                spatial_size=(32, 32), channels=1 if images.shape[1] == 1 else 3, mean=MEAN, std=STD
            ),
        ),
        info=UpdateInfo(
            round=0, site="site-1", time="2026-01-01T00:00:00Z", n_images=len(images),
            n_steps=steps, batch_size=size, local_epochs=epochs, lr=lr,
        ),
        global_state={k: v.numpy() for k, v in before.items()},
        update={k: v.numpy() for k, v in update.items()},
    )  # fmt: skip
    return observe(record, knowledge or Knowledge())


def compare(evidence: Evidence, images: Tensor) -> Terms:
    """All norms and all row spaces."""
    everywhere = Compared(norms=evidence.norms, spans=tuple(evidence.spans))
    return terms(join([evidence]), images, everywhere)


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


def test_a_batch_leaves_row_spaces_only_where_it_fits():
    truth = smooth(2)
    evidence = read_evidence(client(truth, torch.tensor([1, 0])))
    assert evidence.spans
    assert all("layer4" in n for n in evidence.spans)
    found = compare(evidence, truth)
    assert found.statistics.item() == pytest.approx(0, abs=1e-4)
    assert found.span.item() == pytest.approx(0, abs=1e-4)
    swapped = compare(evidence, truth.flip(0))
    assert swapped.span.item() == pytest.approx(0, abs=1e-4)


def test_several_steps_are_evaluated_at_weights_between_the_ends():
    truth = smooth(2)
    evidence = read_evidence(client(truth, torch.tensor([1, 0]), batch_size=1, lr=0.001))
    assert [s.progress for s in evidence.steps] == [0, 0.5]
    found = compare(evidence, truth)
    assert found.statistics.item() < 0.01
    assert found.span.item() < 0.001
    swapped = compare(evidence, truth.flip(0))
    assert swapped.statistics.item() > 5 * found.statistics.item()


def test_several_epochs_are_one_batch_at_their_mean_progress():
    truth = smooth(1)
    evidence = read_evidence(client(truth, torch.tensor([1]), epochs=4, lr=0.001))
    assert [s.progress for s in evidence.steps] == [0.375]
    found = compare(evidence, truth)
    assert found.statistics.item() < 0.01
    assert found.span.item() < 0.001


def test_the_steps_of_a_round_have_a_last_batch_of_the_rest():
    steps = client_steps(client(smooth(5), torch.tensor([0, 1, 0, 1, 1]), batch_size=2, lr=0.001))
    assert [(s.images.start, s.images.stop) for s in steps] == [(0, 2), (2, 4), (4, 5)]


def test_losses_have_a_gradient():
    evidence = read_evidence(client(smooth(1), torch.tensor([1])))
    images = smooth(1, seed=1).requires_grad_(True)
    found = compare(evidence, images)
    for value in (found.statistics, found.span, found.span_root):
        assert value.requires_grad
        (gradient,) = torch.autograd.grad(value, images, retain_graph=True)
        assert gradient.abs().sum() > 0


def test_without_statistics_the_row_spaces_remain():
    evidence = read_evidence(client(smooth(1), torch.tensor([1]), statistics=False))
    assert evidence.norms == ()
    assert evidence.spans
    assert compare(evidence, smooth(1)).statistics.item() == 0


@pytest.mark.parametrize("labels", [[0], [1], [1, 0], [1, 1]])
def test_labels_are_read_off_the_update(labels):
    truth = smooth(len(labels))
    observation = client(truth, torch.tensor(labels))
    found = read_labels(observation, truth, client_steps(observation))
    assert found is not None
    assert found.tolist() == labels
