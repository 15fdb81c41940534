"""The cases of the benchmark of membership: what a client does, and what must be reached."""

from dataclasses import dataclass, replace

OTHERS, CERTAIN = 128, 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """What a client does in a round; ``auc`` and ``tpr`` are what a case must reach, if given."""

    images: int
    optimizer: str = "sgd"
    lr: float = 0.01
    batch: int = 8
    epochs: int = 1
    size: int = 64
    model: str = "resnet18"
    defence: str = ""
    rounds: int = 1
    criterion: str = "cross_entropy"
    others: int = OTHERS
    certain: int = CERTAIN
    auc: float | None = None
    tpr: float | None = None


_SGD = Client(images=32, auc=0.998, tpr=0.98)
_ADAM = Client(images=32, optimizer="adam", lr=1e-4, auc=0.97, tpr=0.75)
_FREE = {"auc": None, "tpr": None}
CASES = {
    "sgd-32": _SGD,
    "sgd-96": replace(_SGD, images=96, auc=0.995, tpr=0.90),
    "sgd-96-4epochs": replace(_SGD, images=96, batch=16, epochs=4, tpr=0.95),
    "adam-32": _ADAM,
    "adam-96-4epochs": replace(_ADAM, images=96, batch=16, epochs=4, auc=0.95, tpr=0.60),
    "sgd224-32": replace(_SGD, size=224, auc=0.98, tpr=0.80),
    "sgd224-96": replace(_SGD, size=224, images=96, auc=0.90, tpr=0.40),
    "adam224-32": replace(_ADAM, size=224, auc=0.90, tpr=0.40),
    "rounds10-adam-96": replace(_ADAM, images=96, rounds=10, **_FREE),
    "densenet64-adam-32": replace(_ADAM, model="densenet121", auc=0.90, tpr=None),
    "groupnorm64-sgd-32": replace(_SGD, model="resnet18_groupnorm", auc=0.90, tpr=None),
    "unet64-dice-32": replace(_SGD, model="unet", criterion="dice", lr=0.1, auc=0.90, tpr=None),
    "vit224-sgd-16": replace(
        _SGD, images=16, size=224, model="vit_b_16", auc=0.90, tpr=None, others=32, certain=80
    ),
    "sgd-32-percentile-1": replace(_SGD, defence="percentile_gaussian:sigma0=1", **_FREE),
    "sgd-32-percentile-10": replace(_SGD, defence="percentile_gaussian:sigma0=10", **_FREE),
    "sgd-32-percentile-group": replace(
        _SGD, defence="percentile_gaussian:sigma0=0.3,scope=group", **_FREE
    ),
    # Noise of this multiplier is one release at epsilon 8, delta 1e-5, for another data set.
    "sgd-32-clipped-8": replace(
        _SGD, defence="clipped_gaussian:max_grad_norm=1,noise_multiplier=1.2005", **_FREE
    ),
}
