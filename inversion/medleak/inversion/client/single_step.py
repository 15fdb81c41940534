"""One local step seen as its gradient: what DLG, iDLG and CPL work on."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from medleak.inversion.client.labels import head, label_counts, label_of_one, soft_labels
from medleak.inversion.client.rounding import Precision, precision, precision_of_errors
from medleak.inversion.client.training import batch_gradient
from medleak.inversion.losses import MATCHES, Criterion, StepMatch, first_output
from medleak.inversion.observation import Observation
from medleak.inversion.optimisers.of_client import undone_steps


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SingleStep:
    """The gradient of one batch and the means to compute a candidate's, in float64.

    Small networks need the digits: L-BFGS builds its curvature from differences of gradients.

    Attributes:
        network: Global weights.
        gradient: Observed, in the order of ``named_parameters()``.
        precision: How well each entry of it is known.
        shape: [N, C, *size] of the images to find.
        observation: Where all this comes from.
    """

    network: nn.Module
    gradient: Sequence[Tensor]
    precision: Precision
    shape: tuple[int, ...]
    observation: Observation

    def gradient_of(self, images: Tensor, labels: Tensor) -> list[Tensor]:
        """Gradient of ``images`` [N, C, H, W] in [0, 1] float64, with a graph to both."""
        weights = {name: p.detach() for name, p in self.network.named_parameters()}
        inputs = self.observation.normalise(images)
        return batch_gradient(self.network, weights, inputs, labels, self.criterion)[0]

    def distance(self, match: StepMatch, images: Tensor, labels: Tensor) -> Tensor:
        """Distance of the gradient of ``images`` to the observed one, with a graph."""
        measure = self.precision.distance if match == "weighted" else MATCHES[match]
        return measure(self.gradient_of(images, labels), self.gradient)

    @property
    def floor(self) -> float:
        """The ``weighted`` distance that the client's rounding leaves at the true images."""
        return self.precision.floor

    def outputs_of(self, images: Tensor) -> Tensor:
        """Softmax or sigmoid of the logits [N, C] of ``images``, with a graph to them."""
        logits = first_output(self.network(self.observation.normalise(images)))
        return soft_labels(logits, self.criterion)

    @property
    def criterion(self) -> Criterion:
        """The client's training loss."""
        return self.observation.criterion

    def labels(self, stand_in: Tensor) -> Tensor:
        """[N] int64: known ones, else read from the head's gradient.

        Args:
            stand_in: Images whose outputs stand for those of the unknown ones where labels have
                to be counted (several images); not used for one image.
        """
        if self.observation.knowledge.labels == "known":
            return self.observation.labels
        bias = self._head_bias_gradient()
        if self.shape[0] == 1:
            return label_of_one(bias)
        if self.observation.optimizer != "sgd":
            raise ValueError(
                "Labels of several images cannot be counted from a step of Adam, whose entries "
                "are nearly signs. Use known labels, or row_space, which reads labels once it has "
                "the images."
            )
        with torch.no_grad():
            outputs = self.outputs_of(stand_in.double()).mean(0)
        counts = label_counts(bias, outputs, self.shape[0], self.criterion)
        return torch.arange(len(counts), device=counts.device).repeat_interleave(counts)

    def _head_bias_gradient(self) -> Tensor:
        name = f"{head(self.network)}.bias"
        names = self.observation.parameter_names
        if name not in names:
            raise ValueError(
                "The network's last linear layer has no bias: labels cannot be read from the "
                "update. Use known labels, or an attack that optimises them."
            )
        return self.gradient[names.index(name)]


def _undone(observation: Observation) -> tuple[list[Tensor], Precision]:
    """The gradient that Adam's first step leaves readable, and how well; bounds count as unknown.

    Raises:
        ValueError: The update is no such step.
    """
    undone = undone_steps(observation)
    if undone is None:
        raise ValueError(
            f"The update is no first step of {observation.optimizer} from fresh state, as its "
            "record says: several steps, a state that was kept, another learning rate or noise. "
            "Its gradient cannot be read. row_space uses batch-norm statistics all the same."
        )
    entries = list(undone.values())
    gradient = [e.gradient for e in entries]
    return gradient, precision_of_errors(gradient, [e.error for e in entries])


def single_step(observation: Observation) -> SingleStep:
    """``observation`` as one step's gradient.

    Raises:
        ValueError: The client made several steps (their sum is no gradient at the global
            weights), or see :meth:`Observation.check_replay`.
        KnowledgeError: The global model, the learning rate or the number of images is withheld.
    """
    observation.check_replay()
    if observation.n_passes != 1:
        steps = observation.n_steps
        what = f"{steps} local steps" if steps > 1 else f"{observation.n_passes} forward passes"
        raise ValueError(
            f"The update holds {what}, and this attack inverts the "
            "gradient of one: it would match a gradient that nobody computed. Use row_space, "
            "epochwise_bn or inverting_gradients."
        )
    network = observation.network()
    weights = [w.detach() for w in network.parameters()]
    update = list(observation.parameter_update.values())
    if observation.optimizer == "sgd":
        lr, decay = observation.lr, observation.weight_decay
        gradient = [
            -u.double() / lr - decay * w.double() for w, u in zip(weights, update, strict=True)
        ]
        known = precision(weights, update, gradient, lr)
    else:
        gradient, known = _undone(observation)
    network = network.double()
    return SingleStep(
        network=network,
        gradient=gradient,
        precision=known,
        shape=(
            observation.n_images,
            observation.image_channels,
            *observation.spatial_size,
        ),
        observation=observation,
    )
