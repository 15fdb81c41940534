import pytest
import torch

from medleak.inversion.dp_audit.gradients import inner_products
from medleak.inversion.losses import task_loss


@pytest.mark.parametrize("which", ["lenet_spec", "resnet_spec"])
def test_inner_products_are_those_of_the_gradients(which, observed, smooth_images, request):
    seen = observed(smooth_images(4), torch.tensor([0, 1, 1, 0]), request.getfixturevalue(which))
    images, labels = smooth_images(18, seed=1), torch.arange(18) % 2  # more than go at once
    along, gram = inner_products(seen, images, labels)
    network = seen.network().eval()
    kernels = {n: p for n, p in network.named_parameters() if p.ndim > 1}
    rows = []
    for image, label in zip(images, labels, strict=True):
        loss = task_loss("cross_entropy", network(seen.normalise(image[None])), label[None])
        gradients = torch.autograd.grad(loss, list(kernels.values()))
        rows.append(torch.cat([g.flatten() for g in gradients]).double())
    whole = torch.stack(rows)
    update = torch.cat([seen.parameter_update[n].flatten() for n in kernels]).double()
    torch.testing.assert_close(gram, whole @ whole.T, rtol=1e-4, atol=1e-9)
    torch.testing.assert_close(along, whole @ update, rtol=1e-3, atol=1e-9)


def test_a_loss_that_is_not_of_classes_is_refused(observed, smooth_images, lenet_spec):
    seen = observed(smooth_images(2), torch.tensor([0, 1]), lenet_spec)
    assert seen._task is not None
    object.__setattr__(seen, "_task", seen._task.model_copy(update={"criterion": "dice"}))
    with pytest.raises(ValueError, match="dice"):
        inner_products(seen, smooth_images(2), torch.tensor([0, 1]))
