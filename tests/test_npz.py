import numpy as np
import pytest

from captum_ssvep import _npz

ARRAYS = {
    "numbers": np.linspace(0, 1, 7).reshape(7, 1),
    "none": np.zeros((0, 3), dtype=np.float16),
    "complex": np.array([1 + 2j], dtype=np.complex64),
    "text": np.array("two\nlines"),
    "one": 3,
}


def read(path, required=frozenset(ARRAYS)):
    return _npz.load(path, set(required), "`this test`")


def files_in(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("kind", [str, lambda path: path], ids=["text", "path"])
def test_arrays_come_back_as_they_were(tmp_path, kind):
    path = tmp_path / "archive"  # numpy would add a suffix
    _npz.save(kind(path), ARRAYS)
    assert files_in(tmp_path) == ["archive"]
    loaded = read(kind(path))
    assert list(loaded) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert loaded[name].dtype == np.asarray(array).dtype
        np.testing.assert_array_equal(loaded[name], array)
    assert set(read(path, {"one"})) == set(ARRAYS)  # also what nobody asked for
    with np.load(path, allow_pickle=False) as archive:  # without this package
        assert archive["text"] == "two\nlines"


def test_a_file_is_replaced(tmp_path):
    path = tmp_path / "archive.npz"
    _npz.save(path, ARRAYS)
    _npz.save(path, {"other": np.ones(2)})
    assert list(read(path, {"other"})) == ["other"]
    assert files_in(tmp_path) == ["archive.npz"]


class Interrupting:
    """What cannot be written, behind what can."""

    def __array__(self, dtype=None, copy=None):
        raise KeyboardInterrupt


def test_what_is_interrupted_leaves_the_old_file(tmp_path):
    path = tmp_path / "archive.npz"
    interrupted = {"numbers": np.ones(100_000), "broken": Interrupting()}
    for old in ([], ["archive.npz"]):
        with pytest.raises(KeyboardInterrupt):
            _npz.save(path, interrupted)
        assert set(files_in(tmp_path)) <= {*old, _npz.unfinished(path).name}
        if old:
            np.testing.assert_array_equal(read(path)["numbers"], ARRAYS["numbers"])
        # Whatever lies there does not harm the next one.
        _npz.save(path, ARRAYS)
        assert files_in(tmp_path) == ["archive.npz"]


def test_a_file_takes_its_place_once_it_is_whole(tmp_path, monkeypatch):
    path = tmp_path / "archive.npz"
    _npz.save(path, {"old": 1})
    synced = []

    def fsync(descriptor):
        synced.append(descriptor)
        assert list(read(path, {"old"})) == ["old"]
        assert set(read(_npz.unfinished(path))) == set(ARRAYS)

    monkeypatch.setattr("os.fsync", fsync)
    _npz.save(path, ARRAYS)
    assert len(synced) == 1
    assert set(read(path)) == set(ARRAYS)


@pytest.mark.parametrize("kept", [0.0, 0.01, 0.5, 0.99])
def test_a_cut_file_is_refused(tmp_path, kept):
    path = tmp_path / "archive.npz"
    _npz.save(path, ARRAYS)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(ValueError, match=r"(?s)by `this test`, but .*archive\.npz is not one, or"):
        read(path)


def test_a_changed_number_is_noticed(tmp_path):
    path = tmp_path / "archive.npz"
    _npz.save(path, ARRAYS)
    content = path.read_bytes()
    written = ARRAYS["numbers"].tobytes()
    assert written in content
    path.write_bytes(content.replace(written, written[::-1]))
    with pytest.raises(ValueError, match="damaged"):
        read(path)


def test_what_is_no_archive_is_refused(tmp_path):
    path = tmp_path / "other"
    path.write_text("text")
    with pytest.raises(ValueError, match="not one, or is damaged"):
        read(path)
    with path.open("wb") as file:
        np.save(file, np.ones(3))
    with pytest.raises(ValueError, match="not one, or is damaged"):
        read(path)


def test_objects_are_not_unpickled(tmp_path):
    path = tmp_path / "objects.npz"
    np.savez(path, numbers=np.array([print], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        read(path, {"numbers"})


def test_missing_arrays_are_named(tmp_path):
    path = tmp_path / "archive.npz"
    _npz.save(path, {"one": 1})
    with pytest.raises(ValueError, match=r"archive\.npz lacks complex, none, numbers, text$"):
        read(path)


def test_a_file_that_is_not_there_is_not_called_damaged(tmp_path):
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "archive.npz")
