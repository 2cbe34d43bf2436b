"""A checker knows the types of results, and which arguments are wrong."""

from pathlib import Path

import pytest


@pytest.mark.slow
def test_mypy_knows_what_comes_back():
    """Each `assert_type` of the file holds, and each ignored error is one."""
    api = pytest.importorskip("mypy.api", reason="mypy is not installed")
    shown, errors, status = api.run(["--strict", str(Path(__file__).parent / "types/results.py")])
    assert status == 0, shown + errors
