from collections import OrderedDict, namedtuple
from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from captum_ssvep import (
    FrequencyTaggingAttribution,
    ablation_damage,
    interaction_damage,
    margin_of,
)
from captum_ssvep.evaluation.objectives import loss, margin

IMAGES = torch.randn(7, 3, 8, 10, generator=torch.Generator().manual_seed(3))
LABELS = torch.tensor([0, 2, 1, 1, 0, 2, 2])


def test_the_margin_is_the_log_odds_of_the_true_class():
    outputs = 5 * torch.randn(20, 6, dtype=torch.float64)
    labels = torch.arange(20) % 6
    true = outputs.softmax(1)[torch.arange(20), labels]
    torch.testing.assert_close(margin(outputs, labels), true.logit())
    torch.testing.assert_close(loss(outputs, labels), -true.log())


def test_a_margin_keeps_the_names_of_layers_and_gradients():
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 6 * 8, 3)
    ).eval()
    forward = margin_of(model)
    torch.testing.assert_close(forward(IMAGES, LABELS), margin(model(IMAGES), LABELS))
    forward(IMAGES, LABELS).sum().backward()
    assert model[0].weight.grad.abs().sum() > 0
    by_name = FrequencyTaggingAttribution(forward, "1")
    expected = FrequencyTaggingAttribution(model, "1").attribute(IMAGES)
    torch.testing.assert_close(by_name.attribute(IMAGES, additional_forward_args=LABELS), expected)


@dataclass
class Output:
    logits: torch.Tensor
    loss: None = None


class ModelOutput(OrderedDict):
    """With items that are attributes, too, as transformers has it."""

    def __getattr__(self, name):
        return self[name]


Named = namedtuple("Named", "logits auxiliary")


class Returns(nn.Module):
    """A classifier that wraps its logits."""

    def __init__(self, wrap):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.body, self.head = nn.Conv2d(3, 4, 8), nn.Linear(4 * 3, 3)
        self.wrap = wrap
        self.eval()

    def forward(self, x):
        return self.wrap(self.head(self.body(x).relu().flatten(1)))


HOLD_LOGITS = {
    "dataclass": Output,
    "model output": lambda logits: ModelOutput(logits=logits),
    "mapping": lambda logits: {"loss": None, "logits": logits},
    "named tuple": lambda logits: Named(logits, None),
    "distribution": lambda logits: torch.distributions.Categorical(logits=logits),
}
CALLS = {
    "loss": lambda model, labels: loss(model(IMAGES), labels),
    "margin": lambda model, labels: margin(model(IMAGES), labels),
    "margin_of": lambda model, labels: margin_of(model)(IMAGES, labels),
    "ablation": lambda model, labels: ablation_damage(
        model, TensorDataset(IMAGES, labels), ["body"], show_progress=False
    ).changes["body"],
    "interaction": lambda model, labels: interaction_damage(
        model, TensorDataset(IMAGES, labels), ["body"], show_progress=False
    ).changes["body"],
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("wrap", HOLD_LOGITS)
def test_outputs_that_hold_logits_are_understood(call, wrap):
    found = CALLS[call](Returns(HOLD_LOGITS[wrap]), LABELS)
    torch.testing.assert_close(found, CALLS[call](Returns(lambda logits: logits), LABELS))


HOLD_NONE = {
    "tuple": (lambda logits: (logits, logits), "tuple of a tensor of .*"),
    "segmentation": (lambda logits: logits[..., None, None], r"a tensor of shape \(\d+, 3, 1, 1\)"),
    "its mapping": (lambda logits: OrderedDict(out=logits), "OrderedDict with out"),
    "one column": (lambda logits: logits[:, :1], r"a tensor of shape \(\d+, 1\)"),
    "one score": (lambda logits: logits[:, 0], r"a tensor of shape \(\d+,\)"),
    "no logits": (lambda logits: Output(None), "NoneType"),
    "another number": (lambda logits: logits[1:], r"a tensor of shape \(\d+, 3\)"),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("kind", HOLD_NONE)
def test_outputs_without_logits_are_refused(call, kind):
    wrap, words = HOLD_NONE[kind]
    words = f"classes.* for `objective`, but the network gives {words}; pass an `objective` of your"
    with pytest.raises(ValueError, match=words):
        CALLS[call](Returns(wrap), LABELS)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(("labels", "words"), [(LABELS + 1, "1 to 3"), (LABELS - 1, "-1 to 1")])
def test_labels_that_are_no_class_of_the_network_are_refused(call, labels, words):
    with pytest.raises(ValueError, match=f"labels from 0 to 2 .*3 classes, but got .*from {words}"):
        CALLS[call](Returns(lambda logits: logits), labels)


def test_an_objective_of_ones_own_gets_the_output_as_it_is():
    def objective(outputs, labels):
        assert isinstance(outputs, Output)
        return outputs.logits[:, 0]

    data = TensorDataset(IMAGES, LABELS)
    for damage in (ablation_damage, interaction_damage):
        found = damage(Returns(Output), data, ["body"], objective=objective, show_progress=False)
        assert found.changes["body"].abs().max() > 0
