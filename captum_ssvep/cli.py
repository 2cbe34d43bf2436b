"""The arguments of the command line. The work is in `demo`, which imports torch."""

import argparse
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from . import __version__

EXAMPLES = """examples:
  captum-ssvep run --model resnet18 --layer layer4 --image cat.jpg --out cat
  captum-ssvep run --model net.py:build --layer conv1 conv2 --image photos --out seen
  captum-ssvep run --model resnet18 --layer layer4 --image cat.jpg --mask tiles 2x2 --out tiles
"""


class _Parser(argparse.ArgumentParser):
    """Says in one line what was wrong, as all other errors do."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; `{self.prog} --help` lists what it takes\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments (sequence of str, optional): Default: those of the process.

    Returns:
        int: Exit status: 0, or 2 after one line that says what was wrong.
    """
    options = vars(_parser().parse_args(arguments))
    command = options.pop("command")
    from .demo import commands

    with warnings.catch_warnings():
        warnings.showwarning = _once_in_a_line()
        try:
            (commands.run_demo if command == "demo" else commands.run_model)(**options)
        except (ValueError, TypeError, OSError, RuntimeError) as error:
            print(f"captum-ssvep: {' '.join(str(error).split())}", file=sys.stderr)
            return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="captum-ssvep",
        description="Flicker the parts of an image, each at its own frequency, and see which "
        "neurons of a network respond.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser(
        "demo",
        help="two digits through the embedded network, offline",
        description="Tag two handwritten digits in a small network that comes with the package.",
    )
    demo.add_argument(
        "--out",
        default=Path("demo_output"),
        type=Path,
        help="folder to write to (default: %(default)s)",
    )
    _add_run(
        commands.add_parser(
            "run",
            help="pictures through any classifier",
            description="Tag pictures in a network: print which channels respond most, and write "
            "figures, spectra and a table of all numbers.",
            epilog=EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
    )
    return parser


def _add_run(run: argparse.ArgumentParser) -> None:
    """The arguments of ``run``."""
    several: dict[str, Any] = {"nargs": "+", "action": "extend", "required": True}
    run.add_argument(
        "--model",
        required=True,
        help="torchvision name, such as resnet18, or path/to/file.py:function, which returns a "
        "model, or a model and its preprocessing (from a PIL picture to a tensor)",
    )
    run.add_argument(
        "--layer",
        dest="layers",
        metavar="LAYER",
        help="names of modules, such as layer4",
        **several,
    )
    run.add_argument(
        "--image",
        dest="images",
        metavar="IMAGE",
        type=Path,
        help="picture files, or folders of them",
        **several,
    )
    run.add_argument("--out", required=True, type=Path, help="folder to write to")
    run.add_argument(
        "--weights",
        default="default",
        help="path of a state dict, or 'none' for random weights (default: pretrained weights)",
    )
    run.add_argument(
        "--seed", default=0, type=int, help="seed of random weights (default: %(default)s)"
    )
    run.add_argument(
        "--mask",
        nargs="+",
        default=["halves"],
        help="the parts: halves (default), tiles RxC, disc [RADIUS], ring [RADIUS RADIUS ...], "
        "sectors N, or a picture or .npy file of integers, as large as the picture or the input; "
        "radii are in pixels of the input",
    )
    run.add_argument(
        "--frequencies",
        nargs="+",
        type=float,
        metavar="HZ",
        help="a tag for each part (default: 6 7.5 for two parts, otherwise chosen)",
    )
    run.add_argument(
        "--design",
        help="time, grid, two-level or auto, as choose_design knows them, or a JSON file such as "
        '{"frequencies": [6, 7.5], "sampling_rate": 120, "n_frames": 480}',
    )
    run.add_argument(
        "--device", default="cpu", help="where to run the network, such as cuda (default: cpu)"
    )
    run.add_argument(
        "--report", type=Path, metavar="PATH", help="also write a page, as an .html file"
    )


def _once_in_a_line() -> Callable[..., None]:
    """What shows warnings: without the line of the program, which is not the user's."""
    shown: set[str] = set()

    def show(message: Warning | str, *place: Any, **more: Any) -> None:
        text = " ".join(str(message).split())
        if text not in shown:
            print(f"captum-ssvep: {text}", file=sys.stderr)
        shown.add(text)

    return show
