"""Folders appear only when all went well."""

import pytest

from captum_ssvep.demo.folders import complete_folder, files_in


def test_files_come_to_the_folder_in_the_end(tmp_path):
    out = tmp_path / "new" / "folder"
    with complete_folder(out) as folder:
        (folder / "layer").mkdir()
        (folder / "layer" / "a.txt").write_text("a")
        (folder / "table.csv").write_text("b")
        assert not out.exists()
        assert files_in(folder) == "2 files, of which table.csv holds all numbers"
    assert (out / "layer" / "a.txt").read_text() == "a"
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
    (tmp_path / "plain").mkdir()
    assert out.stat().st_mode == (tmp_path / "plain").stat().st_mode  # not private
    assert sorted(path.name for path in out.iterdir()) == ["layer", "table.csv"]


def test_what_is_in_the_folder_stays_but_files_of_the_same_name(tmp_path):
    for name in ("old.txt", "table.csv"):
        (tmp_path / name).write_text("old")
    with complete_folder(tmp_path) as folder:
        (folder / "table.csv").write_text("new")
        assert files_in(folder) == "table.csv"
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "old.txt": "old",
        "table.csv": "new",
    }


def write_and_raise(out, error):
    with complete_folder(out) as folder:
        (folder / "a.txt").write_text("a")
        raise error


def test_files_of_an_earlier_run_are_not_beside_the_new_ones(tmp_path):
    earlier = [
        "maps.png",
        "stimulus.gif",
        "cat/maps.png",
        "dog/maps.png",
        "notes/maps.txt",
        "a.png",
    ]
    for name in earlier:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("old")
    with complete_folder(tmp_path) as folder:
        (folder / "cat").mkdir()
        for name in ("table.csv", "cat/spectrum.npz"):
            (folder / name).write_text("new")
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    # The dog was not seen again.
    assert left == {"table.csv", "cat/spectrum.npz", "dog/maps.png", "notes/maps.txt", "a.png"}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_nothing_is_left_behind_by_an_error(tmp_path, error):
    (tmp_path / "old.txt").write_text("old")
    for out in (tmp_path / "new" / "folder", tmp_path):
        with pytest.raises(error):
            write_and_raise(out, error)
    assert [path.name for path in tmp_path.iterdir()] == ["old.txt"]


@pytest.mark.parametrize("inside", ["", "folder"])
def test_a_file_is_no_folder(tmp_path, inside):
    (tmp_path / "file").write_text("a")
    with (
        pytest.raises(ValueError, match=r"--out to lie in folders, but .*file is a file"),
        complete_folder(tmp_path / "file" / inside),
    ):
        pass


def test_where_nothing_can_be_written_is_said_at_once(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    with (
        pytest.raises(ValueError, match=r"written to, but .* is not \(Permission denied\)"),
        complete_folder(tmp_path / "out"),
    ):
        pass
