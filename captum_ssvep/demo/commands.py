"""The two commands: tag two digits, and tag pictures in any network."""

from collections.abc import Sequence
from pathlib import Path

import torch

from .._checks import warn_user
from ..design import TaggingDesign
from . import digits
from .designs import design_of
from .examples import Example, load_example
from .folders import complete_folder, files_in
from .networks import load_network
from .pages import refuse_unwritable, remembered_warnings, write_page
from .parts import parts_of
from .pictures import load_picture, picture_files, short_names
from .printing import say
from .tagging import Tagging


def run_demo(out: Path) -> None:
    """Tag two digits in the package's own network.

    Args:
        out (Path): Folder to write to.
    """
    network = digits.load_network()
    images, labels = digits.load_test_set()
    accuracy = digits.accuracy(network, images, labels)
    n_parameters = sum(parameter.numel() for parameter in network.parameters())
    say(
        f"Embedded residual network, {n_parameters:,} parameters: {accuracy:.1%} correct on "
        f"{len(labels)} handwritten digits it was not trained on.\n"
    )
    examples = [
        Example(f"digit_{label}", f"A handwritten {label}", image[None])
        for image, label in zip(*digits.example_images(), strict=True)
    ]
    names = parts_of(["halves"]).names
    tagging = Tagging(network, ["layer3"], TaggingDesign(), names, for_page=True)
    with remembered_warnings() as caught, complete_folder(out) as folder:
        found = tagging.write_all(examples, len(examples), folder)
        facts = {"network": "a residual network for digits"}
        write_page(folder / "report.html", found, facts, caught)
        written = files_in(folder)
    say(f"Written to {out}: {written}")


def run_model(
    model: str,
    layers: Sequence[str],
    images: Sequence[Path],
    out: Path,
    *,
    weights: str = "default",
    seed: int = 0,
    mask: Sequence[str] = ("halves",),
    frequencies: Sequence[float] | None = None,
    design: str | None = None,
    device: str = "cpu",
    report: Path | None = None,
) -> None:
    """Tag pictures in a classifier.

    Args:
        model, weights, seed: As in `load_network`.
        layers (sequence of str): Names of the layers to read.
        images (sequence of Path): Files and folders.
        out (Path): Folder to write to. It stays as it was if something is wrong.
        mask (sequence of str, optional): As in `parts_of`. Default: left and right half
        design, frequencies (optional): As in `design_of`. Default: None
        device (str, optional): Where to run the network. Default: ``"cpu"``
        report (Path, optional): A page to write. Default: None

    Raises:
        ValueError: If something does not fit; the message says what to do.
    """
    files, parts = picture_files(images), parts_of(mask)
    _refuse_absent(device)
    if report is not None:
        refuse_unwritable(report)
    for file in files:
        load_picture(file)  # rather now than after hours
    with remembered_warnings() as caught:
        shown = design_of(design, frequencies, len(parts.names))
        if len(parts.names) == 1:
            warn_user("One part flickers: it has harmonics, but no combinations with other parts")
        with complete_folder(out) as folder:
            network = load_network(model, weights, seed)
            network.model.to(device)
            if network.note:
                say(network.note)
            examples = (
                load_example(file, name, network, parts, device)
                for file, name in zip(files, short_names(files), strict=True)
            )
            tagging = Tagging(
                network.model, [*dict.fromkeys(layers)], shown, parts.names, report is not None
            )
            found = tagging.write_all(examples, len(files), folder)
            written = files_in(folder)
        say(f"Written to {out}: {written}")
        if report is not None:
            facts = {"network": model, **_origin(model, weights, seed), "mask": " ".join(mask)}
            write_page(report, found, facts, caught)
            say(f"Written to {report}")


def _origin(model: str, weights: str, seed: int) -> dict[str, object]:
    """Where the weights come from, for the page; the seed only if it matters."""
    if weights == "none":
        return {"weights": "random", "seed": seed}
    if weights != "default":
        return {"weights": weights}
    if ".py:" not in model:
        return {"weights": "pretrained, of torchvision"}
    # Whether the function draws random numbers is not known.
    return {"weights": f"of {model}", **({"seed": seed} if seed else {})}


def _refuse_absent(device: str) -> None:
    """Refuse a device that this machine has not.

    Raises:
        ValueError: If nothing can be computed on it.
    """
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = " ".join(str(error).split(". ")[0].split())
        raise ValueError(
            f"Expected --device to be one of this machine, but {device} cannot be used ({reason}); "
            "leave it out to take the CPU"
        ) from None
