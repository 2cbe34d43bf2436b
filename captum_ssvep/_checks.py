"""Warnings that point at the user's own line."""

from __future__ import annotations

import sys
import warnings

_SKIPPED = ("captum_ssvep", "captum", "torch", "contextlib", "dataclasses")


def warn_user(message: str) -> None:
    """Warn with the stack level of the first caller outside this package, Captum and torch."""
    frame = sys._getframe(1)
    level = 2
    while frame.f_back and frame.f_globals.get("__name__", "").split(".")[0] in _SKIPPED:
        frame = frame.f_back
        level += 1
    warnings.warn(message, UserWarning, stacklevel=level)
