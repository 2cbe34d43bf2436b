"""What is said on the screen, in words of the command line."""

import os
import sys
from typing import TextIO

from tqdm.auto import tqdm

# Warnings of the package give advice for Python. Here are the options that do the same.
IN_OPTIONS = {
    "or take `choose_design` with a `max_order` of 2 or more": "or leave out --frequencies",
    "lower `max_order` to that, or make a design for a higher order with `choose_design`": (
        "take other --frequencies, or leave them out"
    ),
}


def say(text: str, stream: TextIO | None = None) -> None:
    """Print, without a progress bar in between, for as long as somebody listens.

    Args:
        text (str): What to say.
        stream (file, optional): Where. Default: the standard output
    """
    stream = stream or sys.stdout
    try:
        tqdm.write(text, stream)
        stream.flush()
    except BrokenPipeError:
        # As after `| head -3`. What was found is still to be written, and the rest of the words,
        # which Python prints when it ends, has to go somewhere.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def in_options(warning: str) -> str:
    """A warning of the package with the options of the command line in place of Python.

    Examples::

        >>> in_options("Move a tag, or take `choose_design` with a `max_order` of 2 or more")
        'Move a tag, or leave out --frequencies'
    """
    for advice, option in IN_OPTIONS.items():
        warning = warning.replace(advice, option)
    return " ".join(warning.split())
