"""Labels come back from signs and bounds of a head's gradient."""

import pytest
import torch
from torch import nn

from medleak.inversion.client.bounded_labels import bounded_label_scores
from medleak.inversion.losses import task_loss
from medleak.inversion.optimisers.first_step import undo
from medleak.inversion.optimisers.rule import Rule


@pytest.mark.parametrize(
    ("criterion", "classes"), [("cross_entropy", 2), ("cross_entropy", 5), ("bce", 1), ("bce", 4)]
)
def test_labels_of_a_batch_come_back_though_the_gradient_is_saturated(criterion, classes):
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(6, 40, generator=generator).relu()
    labels = torch.randint(max(classes, 2), (6,), generator=generator)
    torch.manual_seed(0)
    head = nn.Linear(40, classes)
    before = [p.detach().clone() for p in head.parameters()]
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-4)
    logits = head(features)
    task_loss(criterion, logits, labels).backward()
    optimizer.step()
    rule = Rule(name="adam", lr=1e-4)
    weight, bias = (
        undo(p.detach() - w, w, rule) for p, w in zip(head.parameters(), before, strict=True)
    )
    assert weight.saturated.double().mean() > 0.5
    soft = logits.detach()
    outputs = soft.softmax(1) if criterion == "cross_entropy" else soft.sigmoid()
    rough = features + 0.05 * torch.randn(features.shape, generator=generator)
    scores = bounded_label_scores(rough, outputs, weight, bias, criterion)
    assert scores.argmax(1).tolist() == labels.tolist()
