"""Folders to write to, which appear only when all went well."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from .._checks import count

# What a run may write into a folder. Of an earlier run they would be beside those of another
# picture.
NAMES = (
    "contrast.png", "maps.png", "spectrum.npz", "spectrum.png", "stimulus.gif", "stimulus.png",
    "table.csv",
)  # fmt: skip


@contextmanager
def complete_folder(out: Path) -> Iterator[Path]:
    """A folder for files that come to ``out`` in the end, if nothing is raised before.

    In each folder that gets files, those that an earlier run left go, by their `NAMES`. All others
    stay.

    Raises:
        ValueError: If ``out`` is no folder, or nothing can be written there.
    """
    beside = nearest_folder(out, "--out")
    try:
        temporary = TemporaryDirectory(prefix=".captum-ssvep-", dir=beside)
    except OSError as error:
        raise ValueError(
            f"Expected --out to be a folder that can be written to, but {beside} is not "
            f"({error.strerror}); give another"
        ) from None
    with temporary as folder:
        yield Path(folder)
        # Not the temporary folder itself, which others may not read.
        out.mkdir(parents=True, exist_ok=True)
        _remove_earlier(Path(folder), out)
        for path in Path(folder).iterdir():
            if path.is_dir():
                shutil.copytree(path, out / path.name, dirs_exist_ok=True)
            else:
                shutil.copy(path, out)


def _remove_earlier(new: Path, out: Path) -> None:
    """Remove what an earlier run wrote into the folders that get new files."""
    folders = [new, *(path for path in new.rglob("*") if path.is_dir())]
    for folder in folders:
        for name in NAMES:
            earlier = out / folder.relative_to(new) / name
            if earlier.is_file():
                earlier.unlink()


def nearest_folder(path: Path, option: str) -> Path:
    """The folder itself, or the nearest around it that exists.

    Raises:
        ValueError: If that is a file.
    """
    existing = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    if not existing.is_dir():
        raise ValueError(
            f"Expected {option} to lie in folders, but {existing} is a file; give another path"
        )
    return existing


def files_in(folder: Path) -> str:
    """The files of a folder in words: their names, or their number if there are folders within."""
    paths = sorted(folder.rglob("*"))
    files = [path for path in paths if path.is_file()]
    if len(files) == len(paths):
        return ", ".join(path.name for path in files)
    outside = ", ".join(path.name for path in files if path.parent == folder)
    return f"{count(len(files), 'file')}, of which {outside} holds all numbers"
