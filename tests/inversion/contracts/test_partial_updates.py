"""Clients that send a part: a head, adapters, all but norms; and one whose network returns a dict.

Whatever can be told is told, and none of them ever ends with "no leak found".
"""

import json
from collections import OrderedDict

import pytest
import torch
from tests.inversion.cli.commands import medleak
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrize

from medleak.custom.data.datalist import Item, save_datalist
from medleak.custom.data.transforms import load_images
from medleak.custom.networks import resnet18
from medleak.custom.phantoms import listing, render
from medleak.custom.record import Manifest, UpdateInfo, utc_now, write_manifest, write_record


class LowRank(nn.Module):
    """LoRA (Hu et al. 2021, arXiv:2106.09685v2): a weight that is kept, plus two thin factors."""

    def __init__(self, outputs, inputs, rank=2):
        super().__init__()
        self.down = nn.Parameter(torch.randn(rank, inputs) / inputs**0.5)
        self.up = nn.Parameter(torch.randn(outputs, rank) / rank**0.5)

    def forward(self, weight):
        return weight + self.up @ self.down


class Small(nn.Module):
    def __init__(self, adapters=False, names=False):
        super().__init__()
        torch.manual_seed(0)
        self.names = names
        self.conv, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.down = nn.Conv2d(8, 64, 3, stride=4, padding=1)
        self.head = nn.Linear(64 * 4 * 4, 2)
        if adapters:
            parametrize.register_parametrization(self.head, "weight", LowRank(2, 64 * 4 * 4))

    def forward(self, pixel_values, labels=None):
        seen = functional.relu(self.norm(self.conv(pixel_values)))
        logits = self.head(functional.relu(self.down(seen)).flatten(1))
        if not self.names:
            return logits
        if labels is None:
            return OrderedDict(logits=logits)
        return OrderedDict(loss=functional.cross_entropy(logits, labels), logits=logits)


KINDS = {
    # what is trained, what of that is sent, what of the model is sent
    "head": (("head.",), ("head.",), ("head.",)),
    "frozen": (("head.",), ("",), ("",)),
    "lora": (("head.parametrizations.weight.0",), ("head.parametrizations.weight.0",), ("",)),
    "fedbn": (("",), ("conv.", "down.", "head."), ("",)),
    "named": (("",), ("",), ("",)),
}


@pytest.fixture
def sent(tmp_path, monkeypatch):
    """The record of one step of a client of a kind, and a file of all of its model before it."""
    monkeypatch.chdir(tmp_path)
    rendered = render(listing(1, seed=1), tmp_path / "images", 16, seed=1)
    items = [Item(str(rendered / i.image), i.label, i.patient) for i in listing(1, seed=1)]
    save_datalist(tmp_path / "lists" / "site-1.json", {"training": items})
    gray, labels = load_images(items, spatial_size=(16, 16), channels=1)

    def make(kind):
        trained, told, whole = KINDS[kind]
        args = {"adapters": kind == "lora", "names": kind == "named"}
        model = Small(**args)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name.startswith(trained))
        if trained != ("",):
            model.norm.eval()
        before = {n: t.clone() for n, t in model.state_dict().items()}
        output = model(pixel_values=gray.expand(-1, 3, -1, -1))
        logits = output["logits"] if kind == "named" else output
        functional.cross_entropy(logits, labels).backward()
        torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.01).step()
        after = model.state_dict()
        root = tmp_path / kind
        manifest = {
            "job": kind,
            "created": utc_now(),
            "model": {"path": f"{__name__}.Small", "args": args},
        }
        write_manifest(root, Manifest.model_validate(manifest))
        model_sent = {n: t for n, t in before.items() if n.startswith(whole)}
        update = {n: after[n] - t for n, t in model_sent.items() if n.startswith(told)}
        write_record(root, UpdateInfo(round=0, site="site-1", time=utc_now()), model_sent, update)
        torch.save(before, tmp_path / "base.pt")
        return root

    return make


SAID = (
    *("--input", "16x16x1", "--task", "cross_entropy:2", "--allow-model", f"{__name__}."),
    *("--schedule", "n_images=1,batch_size=1,local_epochs=1,lr=0.01,optimizer=sgd,momentum=0"),
)


@pytest.mark.parametrize(
    ("kind", "base", "verdict"),
    [
        ("head", True, "labels"),
        ("frozen", False, "labels"),
        ("lora", False, "features"),
        ("lora", True, "features"),
        ("fedbn", False, "yes"),
        ("fedbn", True, "yes"),
        ("named", False, "yes"),
    ],
)
def test_what_a_part_tells_is_told(sent, kind, base, verdict, tmp_path):
    root = sent(kind)
    more = ("--base", tmp_path / "base.pt") if base else ()
    done = medleak("inspect", root, *SAID, *more, "--json")
    assert done.exit_code in (0, 3), done.output
    found = json.loads(done.stdout)
    assert found["verdict"] == verdict, done.output
    assert done.exit_code == (0 if verdict == "yes" else 3)
    unsent = [why for why in found["contradictions"] if "were not sent" in why]
    assert bool(unsent) == (kind in ("fedbn", "lora") and not base)


@pytest.mark.parametrize("kind", ["head", "lora", "fedbn", "named"])
def test_an_attack_that_fails_on_a_part_clears_nobody(sent, kind, tmp_path):
    root = sent(kind)
    more = ("--base", tmp_path / "base.pt") if kind == "head" else ()
    attack = ("--attack", "inverting_gradients:iterations=3", "--truth", "lists", "--out", "a")
    done = medleak("audit", root, *SAID, *more, *attack)
    assert done.exit_code == (1 if kind == "lora" else 0), done.output  # no label to be read
    said = medleak("report", "a", "--originals", "hidden")
    assert "no leak found" not in said.output
    assert "site-1: not known" in said.output
    if kind in ("fedbn", "lora"):
        assert "were not sent" in done.output


def test_the_easy_case_needs_no_word_of_what_follows_from_the_rest(tmp_path):
    model = {"path": "medleak.custom.networks.resnet18", "args": {"num_classes": 2}}
    manifest = {"job": "still", "created": utc_now(), "model": model}
    write_manifest(tmp_path / "still", Manifest.model_validate(manifest))
    state = {n: t.numpy() for n, t in resnet18(2).state_dict().items()}
    update = {n: 0 * value for n, value in state.items()}  # norms counted no step
    info = UpdateInfo(round=0, site="site-1", time=utc_now())
    write_record(tmp_path / "still", info, state, update)
    attack = ("--attack", "row_space:attempts=1,seconds=1", "--out", tmp_path / "a")
    done = medleak("audit", tmp_path / "still", *SAID[:4], *SAID[-2:], *attack)
    assert done.exit_code == 1
    (health,) = json.loads((tmp_path / "a" / "health.json").read_bytes()).values()
    assert health["why"] == ""
