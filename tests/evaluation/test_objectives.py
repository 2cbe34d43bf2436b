import torch
from torch import nn

from captum_ssvep import FrequencyTaggingAttribution, margin_of
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
