"""Read pictures from files as a person sees them."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor


def picture_files(paths: Sequence[Path]) -> list[Path]:
    """The files that are meant: those given, and of a folder all pictures that lie in it.

    Raises:
        ValueError: If a folder holds no picture.
    """
    files: list[Path] = []
    for path in paths:
        files.extend(_pictures_in(path) if path.is_dir() else [path])
    return files


def _pictures_in(folder: Path) -> list[Path]:
    known = Image.registered_extensions()
    found = sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in known and not path.name.startswith(".")
    )
    if not found:
        within = [path for path in sorted(folder.iterdir()) if path.is_dir()]
        remedy = f"give its folders, such as {within[0]}" if within else "give another folder"
        raise ValueError(
            f"Expected --image to be pictures or folders of pictures, but {folder} holds none; "
            f"{remedy}"
        )
    return found


def short_names(files: Sequence[Path]) -> list[str]:
    """A name for each file, without its extension, and with as many folders as tell files apart.

    The same file again gets a number.

    Examples::

        >>> short_names([Path("a/1.png"), Path("b/1.png"), Path("b/2.png"), Path("b/2.png")])
        ['a_1', 'b_1', '2', '2-2']
    """
    paths = [file.resolve().with_suffix("").parts for file in files]
    by_stem = defaultdict(set)
    for path in paths:
        by_stem[path[-1]].add(path)
    names: dict[str, None] = {}
    for path in paths:
        others = by_stem[path[-1]] - {path}
        n_parts = 1
        while any(other[-n_parts:] == path[-n_parts:] for other in others):
            n_parts += 1
        own = name = "_".join(path[-n_parts:])
        number = 2
        while name in names:
            name, number = f"{own}-{number}", number + 1
        names[name] = None
    return [*names]


def load_picture(path: Path) -> Image.Image | Tensor:
    """A picture as a person sees it, in colors: turned upright, and on white where it is clear.

    Returns:
        Image or Tensor: A tensor of shape ``(3, height, width)`` from 0 to 1 if its numbers have
        more than 8 bits, to keep them.

    Raises:
        ValueError: If the file is no picture.
    """
    try:
        with Image.open(path) as file:
            picture = ImageOps.exif_transpose(file)
            if picture.mode[0] in "IF":
                return _grey_levels(picture, is_16_bit="16" in picture.mode or file.format == "PNG")
            if picture.getbands()[-1] == "A" or "transparency" in picture.info:
                clear = picture.convert("RGBA")
                picture = Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear)
            return picture.convert("RGB")
    except Exception as error:  # pictures can be damaged in many ways
        raise ValueError(
            f"Expected --image to be a picture, but {path} cannot be read as one ({error}); "
            "give another file, such as a PNG or JPEG"
        ) from None


def _grey_levels(picture: Image.Image, is_16_bit: bool) -> Tensor:
    """A picture of integers or floats, its black at 0 and its white at 1.

    Of floats, 1 is white, or the largest if it is larger; of integers whose format does not say how
    deep they are, the largest number of the 8, 16 or 32 bits that hold them all.
    """
    levels = torch.from_numpy(np.array(picture, dtype=np.float32))
    levels = levels - levels.min().clamp(max=0)
    depths = (16,) if is_16_bit else (8, 16, 32)
    whites = [1] if picture.mode == "F" else [2**bits - 1 for bits in depths]
    white = next((white for white in whites if levels.max() <= white), levels.max())
    return (levels / white).expand(3, -1, -1)


def size_of(picture: Image.Image | Tensor) -> tuple[int, int]:
    """Height and width of what `load_picture` gives.

    Examples::

        >>> size_of(Image.new("RGB", (40, 30)))
        (30, 40)
    """
    if isinstance(picture, Tensor):
        return picture.shape[-2], picture.shape[-1]
    return picture.height, picture.width
