"""Random numbers that a network draws are noticed, and generators put back."""

import pytest
import torch
import torch.nn.functional as F

from captum_ssvep.model.draws import RandomDraws

X = torch.rand(2, 3, 4, 8)

DRAW = {
    "dropout": lambda: F.dropout(X, 0.1),
    "dropout of channels": lambda: F.dropout2d(X, 0.5),
    "Gumbel softmax": lambda: F.gumbel_softmax(X),
    "normal": lambda: torch.randn_like(X),
    "uniform in place": lambda: torch.empty(3).uniform_(),
    "permutation": lambda: torch.randperm(5),
    "multinomial": lambda: torch.multinomial(X[0, 0], 2),
    "randomized ReLU": lambda: F.rrelu(X - 0.5, training=True),
    "attention with dropout": lambda: F.scaled_dot_product_attention(X, X, X, dropout_p=0.5),
    "distribution": lambda: torch.distributions.Normal(0, 1).sample((3,)),
}
NO_DRAW = {
    "dropout in eval mode": lambda: F.dropout(X, 0.1, training=False),
    "dropout of nothing": lambda: F.dropout(X, 0.0),
    "attention": lambda: F.scaled_dot_product_attention(X, X, X),
    "arithmetic": lambda: (X @ X.mT).softmax(-1),
}


@pytest.mark.parametrize("kind", DRAW)
def test_draws_are_noticed_and_taken_back(kind):
    before = torch.get_rng_state()
    with RandomDraws() as draws, torch.no_grad():
        DRAW[kind]()
    assert draws.any
    draws.put_back()
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("kind", NO_DRAW)
def test_what_draws_nothing_is_not_mistaken(kind):
    with RandomDraws() as draws, torch.no_grad():
        NO_DRAW[kind]()
    assert not draws.any


def test_a_generator_of_the_networks_own_is_put_back():
    generator = torch.Generator().manual_seed(3)
    before = generator.get_state()
    with RandomDraws() as draws:
        torch.randn(2, generator=generator)
        torch.randn(2, generator=generator)
    draws.put_back()
    assert draws.any
    assert torch.equal(before, generator.get_state())


def test_draws_in_the_backward_pass_are_noticed():
    class Noisy(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            return gradient + torch.randn_like(gradient)

    x = torch.ones(2, requires_grad=True)
    with RandomDraws() as draws:
        Noisy.apply(x).sum().backward()
    assert draws.any
