"""The arguments of the command line. The work is in `demo`, which imports torch."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from . import __version__


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments (sequence of str, optional): Default: those of the process.

    Returns:
        int: Exit status: 0, or 2 after one line that says what was wrong.
    """
    parser = argparse.ArgumentParser(
        prog="captum-ssvep",
        description="Flicker the halves of an image at 6 and 7.5 Hz and see which neurons respond.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser("demo", help="two digits through the embedded network, offline")
    run = commands.add_parser("run", help="any image through any torchvision classifier")
    run.add_argument("--model", required=True, help="torchvision name, such as resnet18")
    run.add_argument("--layer", required=True, help="name of a module, such as layer4")
    run.add_argument("--image", required=True, type=Path, help="image file")
    run.add_argument(
        "--weights",
        default="default",
        help="path of a state dict, or 'none' for random weights; default: pretrained weights",
    )
    demo.add_argument("--out", default=Path("demo_output"), type=Path, help="folder to write to")
    run.add_argument("--out", required=True, type=Path, help="folder to write to")
    options = parser.parse_args(arguments)
    from .demo.commands import run_demo, run_model

    try:
        if options.command == "demo":
            run_demo(options.out)
        else:
            run_model(options.model, options.layer, options.image, options.weights, options.out)
    except (ValueError, OSError, RuntimeError) as error:
        print(f"captum-ssvep: {error}", file=sys.stderr)
        return 2
    return 0
