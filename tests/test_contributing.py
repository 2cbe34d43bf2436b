"""The examples of CONTRIBUTING.md run as they stand, and do what they say."""

import re
from pathlib import Path

import pytest
import torch

GUIDE = Path(__file__).parents[1] / "CONTRIBUTING.md"


@pytest.fixture(scope="module")
def names():
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 3
    assert all(len(block.strip().splitlines()) < 20 for block in blocks)
    names = {}
    for block in blocks:
        exec(compile(block, str(GUIDE), "exec"), names)
    return names


def test_the_statistic(names):
    values = names["lateralization"](names["spectrum"])
    assert values.shape == (2, 48)
    assert values.abs().max() <= 1
    assert (values > 0.1).any()
    assert (values < -0.1).any()
    left, right = (names["spectrum"].amplitude(c)[0, 7].item() for c in ((1, 0), (0, 1)))
    assert values[0, 7].item() == pytest.approx((left - right) / (left + right), rel=1e-5)


def test_the_mask(names):
    mask = names["checkerboard"]((1, 1, 32, 32), 8)
    assert mask.dtype == torch.int64
    assert mask[:8, :8].eq(0).all()
    assert mask[:8, 8:16].eq(1).all()
    assert mask[8:16, 8:16].eq(0).all()
    assert (mask == 0).sum() == (mask == 1).sum() == 512
    assert names["snr"].shape == (2, 48, 8, 8)


def test_the_recorded_signal(names):
    snr = names["evoked"].snr((1, 1))[0]
    assert snr[2] > 50
    assert (snr[:2] < 5).all()
    assert names["evoked"].snr((1, 0))[0, 0] > 50
