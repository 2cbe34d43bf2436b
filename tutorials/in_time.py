"""Networks that live in time: leaks, spikes, oscillators, and a recurrent network for digits.

All are shown one frame after the other. State lives in their modules, and `forget` brings a network
back to its first state::

    network = toy_networks()["LIF spikes"]
    StepByStep(warmup=2, reset=network.forget)
"""

from __future__ import annotations

import math

import snntorch
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from captum_ssvep import TaggingDesign

# Two lamps, each a part of its own. Half of f1, 2.75 Hz, is no combination of these tags.
LAMPS = torch.ones(1, 2, dtype=torch.float64)
DESIGN = TaggingDesign((5.5, 7.5), sampling_rate=120.0, n_frames=480, contrast=(0.0, 1.0))
N_UNITS = 128
# Standard deviations of a lamp's effect on integrate-and-fire units and on oscillators.
CURRENT, PUSH = 0.3, 0.7


class InTime(nn.Sequential):
    """Layers in a row, some of which keep a state."""

    def forget(self) -> None:
        """Bring every layer into its first state."""
        for module in self.modules():
            if isinstance(module, Leak | Oscillators | RecurrentConvolution):
                module.state = None
            elif isinstance(module, snntorch.Leaky):
                module.reset_mem()


class Leak(nn.Module):
    """A leaky integrator, like the membrane of a neuron: ``y(t) = decay y(t - 1) + x(t)``.

    A line at frequency f is multiplied by ``1 / (1 - decay exp(-2 pi i f / sampling_rate))``.
    """

    def __init__(self, decay: float = 0.9) -> None:
        super().__init__()
        self.decay = decay
        self.state: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        self.state = x if self.state is None else self.decay * self.state + x
        return self.state


class Oscillators(nn.Module):
    r"""Coupled phases that the input turns: a Kuramoto model, in the manner of AKOrN.

    Artificial Kuramoto oscillatory neurons (Miyato et al. 2024, arXiv 2410.13821) are unit vectors
    :math:`x_i` that turn towards an input :math:`c_i` and towards each other. In two dimensions,
    with phases :math:`\theta_i` of the vectors and equal coupling, a frame is the step

    .. math::
        \theta_i \leftarrow \theta_i + \omega + \gamma \left( |c_i| \sin(\phi_i - \theta_i)
            + \frac{K}{n} \sum_j \sin(\theta_j - \theta_i) \right)

    with :math:`\phi_i` the direction of :math:`c_i`.

    Args:
        n (int): Number of oscillators.
        natural_frequency (float): :math:`\omega` in radians per frame, with which every oscillator
            turns on its own. Default: 0
        coupling (float): :math:`K`. Default: 0.5
        step (float): :math:`\gamma`. Default: 0.3
    """

    def __init__(
        self, n: int, natural_frequency: float = 0.0, coupling: float = 0.5, step: float = 0.3
    ) -> None:
        super().__init__()
        self.natural_frequency, self.coupling, self.step = natural_frequency, coupling, step
        self.register_buffer("first", 2 * math.pi * torch.rand(n))
        self.state: Tensor | None = None

    def forward(self, stimulus: Tensor) -> Tensor:
        """Inputs ``(N, n, 2)`` to unit vectors ``(N, n, 2)``."""
        phases = self.first.expand(len(stimulus), -1) if self.state is None else self.state
        vectors = _unit_vectors(phases)
        pull = stimulus + self.coupling * vectors.mean(dim=1, keepdim=True)
        # The part of the pull at a right angle to the vector turns it.
        turn = vectors[..., 0] * pull[..., 1] - vectors[..., 1] * pull[..., 0]
        self.state = phases + self.natural_frequency + self.step * turn
        return _unit_vectors(self.state)


def _unit_vectors(phases: Tensor) -> Tensor:
    return torch.stack([phases.cos(), phases.sin()], dim=-1)


def lamps_to(n_inputs: int, scale: float = 1.0, centered: bool = False) -> nn.Linear:
    """Random weights from the two lamps; centered, the input is 0 where both are half bright."""
    front = nn.Linear(2, n_inputs)
    with torch.no_grad():
        front.weight.normal_(std=scale)
        front.bias.copy_(-0.5 * front.weight.sum(dim=1) if centered else torch.zeros(n_inputs))
    return front


def oscillators(natural_frequency: float) -> tuple[nn.Module, ...]:
    """The lamps push every oscillator in a direction of its own."""
    front = lamps_to(2 * N_UNITS, scale=PUSH), nn.Unflatten(1, (N_UNITS, 2))
    return *front, Oscillators(N_UNITS, natural_frequency)


def toy_networks() -> dict[str, InTime]:
    """Networks of `N_UNITS` random units that see the two lamps; the last layer is theirs."""
    torch.manual_seed(0)
    rectified = lamps_to(N_UNITS, centered=True)
    layers = {
        "static ReLU": (rectified, nn.ReLU()),
        "ReLU behind a leak": (rectified, Leak(), nn.ReLU()),
        "leak behind a ReLU": (rectified, nn.ReLU(), Leak()),
        "LIF spikes": (lamps_to(N_UNITS, CURRENT), snntorch.Leaky(beta=0.9, init_hidden=True)),
        "Kuramoto, natural frequency 0": oscillators(0.0),
        "Kuramoto, natural frequency 0.3": oscillators(0.3),
    }
    return {name: InTime(*modules).double().eval() for name, modules in layers.items()}


class RecurrentConvolution(nn.Module):
    """A convolution with a leak and lateral connections.

    ``h(t) = decay h(t - 1) + (1 - decay) relu(W x(t) + U h(t - 1))``.
    """

    def __init__(self, in_channels: int, channels: int, stride: int, decay: float = 0.5) -> None:
        super().__init__()
        # Neighboring fields overlap by two pixels.
        self.below = nn.Conv2d(in_channels, channels, stride + 2, stride, padding=1)
        self.lateral = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(self.below.weight)
        nn.init.zeros_(self.lateral.weight)  # to be learned
        self.decay = decay
        self.state: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        drive = self.below(x)
        if self.state is None:
            self.state = torch.zeros_like(drive)
        answer = F.relu(drive + self.lateral(self.state))
        self.state = self.decay * self.state + (1 - self.decay) * answer
        return self.state


class RecurrentDigits(InTime):
    """Reads digits ``(N, 1, 32, 32)``, one frame per call: logits ``(N, 10)`` after each."""

    def __init__(self) -> None:
        super().__init__()
        self.add_module("layer1", RecurrentConvolution(1, 16, stride=4))
        self.add_module("layer2", RecurrentConvolution(16, 24, stride=2))
        self.add_module("layer3", RecurrentConvolution(24, 32, stride=1))
        self.add_module("pool", nn.AdaptiveAvgPool2d(1))
        self.add_module("flatten", nn.Flatten())
        self.add_module("fc", nn.Linear(32, 10))

    def look(self, images: Tensor, n_frames: int, noise: float) -> Tensor:
        """Logits after each frame, ``(n_frames, N, 10)``, with new noise in every frame."""
        self.forget()
        frames = (images + noise * torch.randn_like(images) for _ in range(n_frames))
        logits = torch.stack([self(frame) for frame in frames])
        self.forget()
        return logits


def train(
    images: Tensor, labels: Tensor, epochs: int = 8, n_frames: int = 8, noise: float = 0.7
) -> RecurrentDigits:
    """Train on digits in noise, so that it pays to remember earlier frames.

    Args:
        images (Tensor): Digits from `digits.preprocess`.
        labels (Tensor): Their values.
        epochs (int): Times that every digit is shown. Default: 8
        n_frames (int): Frames for which it is shown, each with noise of its own. Default: 8
        noise (float): Standard deviation of the noise; ink is 1, black 0. Default: 0.7
    """
    torch.manual_seed(0)
    network = RecurrentDigits().train()
    optimizer = torch.optim.AdamW(network.parameters(), 0.01, weight_decay=0.05)
    n_steps = epochs * math.ceil(len(images) / 64)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, n_steps)
    for _ in range(epochs):
        for rows in torch.randperm(len(images)).split(64):
            logits = network.look(images[rows], n_frames, noise)
            loss = F.cross_entropy(logits.flatten(0, 1), labels[rows].repeat(n_frames))
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1)
            optimizer.step()
            schedule.step()
    return network.eval()


@torch.no_grad()
def accuracy(
    network: RecurrentDigits, images: Tensor, labels: Tensor, n_frames: int, noise: float
) -> list[float]:
    """Share of digits that are read correctly after each frame."""
    torch.manual_seed(0)
    right = network.look(images, n_frames, noise).argmax(dim=2) == labels
    return right.double().mean(dim=1).tolist()
