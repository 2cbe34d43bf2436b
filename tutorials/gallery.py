"""The README's gallery: pictures of the notebooks, copied to ``images/``.

Run it after executing the notebooks. A test compares the copies with the notebooks.

    python tutorials/gallery.py
"""

from __future__ import annotations

import base64
import json
from pathlib import Path

ROOT = Path(__file__).parents[1]
# Name in images/: the notebook, and the picture's position among its pictures.
PICTURES = {
    "halves": ("01_first_look", 3),
    "channels": ("01_first_look", 4),
    "spectra": ("01_first_look", 5),
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
}


def picture(notebook: str, place: int) -> bytes:
    """A picture of a notebook, as the bytes of a PNG file."""
    path = ROOT / "tutorials" / f"{notebook}.ipynb"
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    pictures = [
        output["data"]["image/png"]
        for cell in cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    return base64.b64decode(pictures[place])


def main() -> None:
    """Copy all pictures."""
    for name, (notebook, place) in PICTURES.items():
        (ROOT / "images" / f"{name}.png").write_bytes(picture(notebook, place))


if __name__ == "__main__":
    main()
