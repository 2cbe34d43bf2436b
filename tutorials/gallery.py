"""The README's gallery: pictures of the notebooks, copied to ``images/``.

Run it after executing the notebooks. A test compares the copies with the notebooks.

    python tutorials/gallery.py
"""

from __future__ import annotations

import base64
import json
from pathlib import Path

ROOT = Path(__file__).parents[1]
# Name in images/: the notebook, and the picture's position among its pictures. images/README.md
# lists where they come from.
PICTURES = {
    "halves": ("01_first_look", 0),
    "channels": ("01_first_look", 2),
    "spectrum": ("01_first_look", 3),
    "spectra": ("01_first_look", 4),
    "important": ("02_the_paper", 4),
    "control": ("04_parts_of_your_choice", 9),
    "windows": ("05_transformers_and_sequences", 3),
    "memory": ("05_transformers_and_sequences", 7),
    "in_time": ("08_networks_in_time", 4),
    "eeg": ("08_networks_in_time", 10),
    "pruning": ("09_prune_and_train", 0),
    "holistic": ("09_prune_and_train", 1),
    "agreement": ("06_filter_importance", 5),
    "gaps": ("07_and_or_or", 3),
    "shapley": ("07_and_or_or", 7),
    "circuit": ("10_circuits", 0),
}
# The same for films.
FILMS = {"flicker": ("01_first_look", 0)}


def picture(notebook: str, place: int, kind: str = "png") -> bytes:
    """A picture of a notebook, as the bytes of a file of its kind, ``"png"`` or ``"gif"``."""
    path = ROOT / "tutorials" / f"{notebook}.ipynb"
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    pictures = [
        output["data"][f"image/{kind}"]
        for cell in cells
        for output in cell.get("outputs", [])
        if f"image/{kind}" in output.get("data", {})
    ]
    return base64.b64decode(pictures[place])


def main() -> None:
    """Copy all pictures."""
    for name, (notebook, place) in PICTURES.items():
        (ROOT / "images" / f"{name}.png").write_bytes(picture(notebook, place))
    for name, (notebook, place) in FILMS.items():
        (ROOT / "images" / f"{name}.gif").write_bytes(picture(notebook, place, "gif"))


if __name__ == "__main__":
    main()
