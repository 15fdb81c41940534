"""Small federations in memory, honest but for what a test does to them, as one site sees them."""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from medleak.filters.noise import NoiseSource
from medleak.filters.registry import defence
from medleak.filters.sentinel.examination import Examined, examine, noted
from medleak.filters.sentinel.memory import Memory

State = dict[str, np.ndarray]
LIFE = 4  # rounds


def numpy_state(model: nn.Module) -> State:
    """A copy, on which later training has no effect."""
    return {n: v.detach().numpy().copy() for n, v in model.state_dict().items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """How the sites and the server of a federation train.

    ``more``: how many times as many steps the other sites make as the first, which looks.
    ``few``: images and batch of each site, which trains on them once a round, and all sites look;
    empty: they share all images, and make ``steps`` steps. Such a federation begins again from
    other random weights every ``LIFE`` rounds.
    """

    name: str
    sites: int = 3
    optimizer: str = "sgd"
    lr: float = 0.02
    momentum: float = 0.0
    steps: int = 3
    batch: int = 8
    proximal: float = 0.0
    server: str = "average"
    server_lr: float = 1.0
    defence: str = ""
    more: int = 1
    trained: bool = False
    few: Sequence[tuple[int, int]] = ()


@dataclass(slots=True)
class Site:
    """The sentinel's side: what it remembers, and the last model that it let through."""

    memory: Memory = field(default_factory=Memory)
    last: State | None = None

    def examined(self, state: State, round: int, *, keep: bool = True) -> Examined:
        """Examine ``state`` as the filter does; with ``keep``, remember it if nothing is odd."""
        last = None if self.last is None else self.last.__getitem__
        if self.last is not None and set(self.last) != set(state):
            last = None
        found = examine(state, self.memory, last, round=round)
        if keep and not found.odd:
            self.memory = self.memory.with_model(found.profile, round)
            self.last = state
        return found

    def sent(self, state: State, update: State) -> None:
        """Note the own update, as sent."""
        self.memory = noted(self.memory, state, update)


def local_update(
    model: nn.Module, setting: Setting, images: Tensor, labels: Tensor, draw: torch.Generator
) -> State:
    """What one site makes of ``model``: local - global, buffers included."""
    start = numpy_state(model)
    trained = copy.deepcopy(model).train()
    fixed = [p.detach().clone() for p in trained.parameters()]
    make: Any = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[setting.optimizer]
    more = {"momentum": setting.momentum} if setting.optimizer == "sgd" else {}
    optimizer = make(trained.parameters(), lr=setting.lr, **more)
    for chosen in _batches(setting, len(images), draw):
        loss = nn.functional.cross_entropy(trained(images[chosen]), labels[chosen])
        pull = sum((p - f).square().sum() for p, f in zip(trained.parameters(), fixed, strict=True))
        loss = loss + setting.proximal / 2 * pull
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return {n: v - start[n] for n, v in numpy_state(trained).items()}


def _batches(setting: Setting, count: int, draw: torch.Generator) -> Sequence[Tensor]:
    """Which of a site's ``count`` images each of its steps sees."""
    if setting.few:
        return torch.randperm(count, generator=draw).split(setting.batch)
    shape = (setting.batch,)
    return [torch.randint(count, shape, generator=draw) for _ in range(setting.steps)]


def rounds(
    setting: Setting,
    make: Callable[[], nn.Module],
    images: Tensor,
    labels: Tensor,
    count: int,
    seed: int,
) -> Iterator[tuple[int, nn.Module, Examined, Site]]:
    """The model that each looking site is sent in each round, and what its sentinel says of it."""
    draw = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(images), generator=draw)
    parts = [p for p in order.tensor_split(setting.sites)]
    if setting.few:
        parts = list(order[: sum(n for n, _ in setting.few)].split([n for n, _ in setting.few]))
    protect = defence(setting.defence) if setting.defence else None
    model, looking = make(), [Site() for _ in setting.few or "1"]
    slow: dict[str, Any] = {"first": {}, "second": {}, "t": 0}
    for number in range(count):
        state = numpy_state(model)
        for site in looking:
            yield number, model, site.examined(state, number), site
        updates = []
        for k, part in enumerate(parts):
            mine = setting if k == 0 else replace(setting, steps=setting.steps * setting.more)
            mine = replace(mine, batch=setting.few[k][1]) if setting.few else mine
            update = local_update(model, mine, images[part], labels[part], draw)
            if not all(np.isfinite(v).all() for v in update.values()):
                return  # training diverged under the noise: every site withholds such an update
            if protect is not None:
                rng = NoiseSource.seeded(seed, f"site-{k}", number)
                update = dict(protect(update, rng=rng, global_state=state))
            updates.append(update)
        for site, update in zip(looking, updates, strict=False):
            site.sent(state, {n: np.asarray(v) for n, v in update.items()})
        moved = _aggregate(setting, updates, slow)
        with torch.no_grad():
            for name, value in model.state_dict().items():
                if name in moved and value.dtype.is_floating_point:
                    value += torch.from_numpy(np.asarray(moved[name])).to(value.dtype)


def _aggregate(setting: Setting, updates: list[State], slow: dict[str, Any]) -> State:
    """The server's step: average, momentum (FedAvgM) or Adam (FedAdam, arXiv:2003.00295v5)."""
    names = set.intersection(*(set(u) for u in updates))
    mean = {n: np.mean([np.asarray(u[n], np.float64) for u in updates], axis=0) for n in names}
    mean = {n: v.astype(np.float32) for n, v in mean.items()}
    if setting.server == "average":
        return mean
    slow["t"] += 1
    moved = {}
    for name, value in mean.items():
        if "running" in name or name.endswith("num_batches_tracked"):
            moved[name] = value
            continue
        first = slow["first"].get(name, np.zeros_like(value))
        if setting.server == "momentum":
            slow["first"][name] = first = 0.9 * first + value
            moved[name] = setting.server_lr * first
            continue
        second = slow["second"].get(name, np.zeros_like(value))
        slow["first"][name] = first = 0.9 * first + 0.1 * value
        slow["second"][name] = second = 0.99 * second + 0.01 * value**2
        moved[name] = setting.server_lr * first / (np.sqrt(second) + 1e-3)
    return moved
