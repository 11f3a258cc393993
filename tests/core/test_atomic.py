"""A save leaves the new file or the old one, and nothing else."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from napari_inr_volume.core.atomic import atomic_folder, atomic_write, working_folder
from napari_inr_volume.core.errors import InrError


def test_the_file_is_written_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "volume.nii.gz"
    with atomic_write(path) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.name.endswith(".nii.gz")
        temporary.write_bytes(b"new")
        assert not path.exists()
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_half_way_leaves_the_old_file_whole(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "volume.inr"
    path.write_bytes(b"old")

    def save_half() -> None:
        with atomic_write(path) as temporary:
            temporary.write_bytes(b"half")
            raise error

    with pytest.raises(error):
        save_half()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_an_error_of_ours_and_leaves_the_old_file_whole(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="no limit on the size of files here")
    path = tmp_path / "volume.inr"
    path.write_bytes(b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Python ignores SIGXFSZ, so writing past the limit fails as on a full disk, with an OSError.
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(InrError, match=r"cannot save .*volume\.inr"), atomic_write(path) as temporary:
            temporary.write_bytes(b"x" * 2000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "volume.inr"
    with pytest.raises(InrError, match=r"there is no folder .*nowhere; create it first"), atomic_write(path):
        pytest.fail("the block must not start")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_an_error_of_ours(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(InrError, match="ermission"), atomic_write(tmp_path / "volume.inr") as temporary:
        temporary.write_bytes(b"new")


def test_a_folder_and_a_device_are_not_replaced(tmp_path: Path) -> None:
    for path in (tmp_path, Path(os.devnull)):
        with pytest.raises(InrError, match="it exists and is not a file"), atomic_write(path):
            pytest.fail("the block must not start")


@pytest.mark.skipif(sys.platform == "win32", reason="no permission bits")
def test_the_file_has_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    plain, path = tmp_path / "plain", tmp_path / "volume.inr"
    plain.write_bytes(b"")
    with atomic_write(path) as temporary:
        temporary.write_bytes(b"")
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


@pytest.mark.skipif(sys.platform == "win32", reason="no permission bits")
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664])
def test_an_old_file_keeps_its_permissions(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "volume.inr"
    path.write_bytes(b"old")
    path.chmod(mode)
    with atomic_write(path) as temporary:
        temporary.write_bytes(b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == mode


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege")
def test_a_link_keeps_pointing_at_the_file_that_was_saved(tmp_path: Path) -> None:
    target, link = tmp_path / "target.inr", tmp_path / "link.inr"
    target.write_bytes(b"old")
    link.symlink_to(target)
    with atomic_write(link) as temporary:
        temporary.write_bytes(b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


def test_a_name_as_long_as_the_file_system_allows_can_be_saved(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 251 + ".inr")
    with atomic_write(path) as temporary:
        temporary.write_bytes(b"new")
    assert path.read_bytes() == b"new"


def test_working_folder_stays_only_if_something_was_put_into_it(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), working_folder(tmp_path / "empty"):
        raise ZeroDivisionError
    assert not (tmp_path / "empty").exists()
    with working_folder(tmp_path / "used") as folder:
        (folder / "checkpoint").touch()
    assert (tmp_path / "used" / "checkpoint").exists()
    (tmp_path / "was there").mkdir()
    with working_folder(tmp_path / "was there"):
        pass
    assert (tmp_path / "was there").is_dir()


def test_working_folder_that_cannot_be_made_gets_a_word(tmp_path: Path) -> None:
    with pytest.raises(InrError, match="cannot make the folder"), working_folder(tmp_path / "no" / "x"):
        pytest.fail("the block must not start")


# ---- folders ----------------------------------------------------------------------------------------


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("before", [None, {}, {"old": b"1", "a": b"2"}], ids=["none", "empty", "full"])
@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_a_folder_is_there_whole_or_as_it_was(
    tmp_path: Path, before: dict[str, bytes] | None, error: type[BaseException] | None
) -> None:
    folder = tmp_path / "series"
    if before is not None:
        folder.mkdir()
        for name, data in before.items():
            (folder / name).write_bytes(data)

    def save() -> None:
        with atomic_folder(folder) as temporary:
            (temporary / "a").write_bytes(b"new")
            assert (content(folder) if folder.exists() else None) == before
            if error is not None:
                raise error

    if error is None:
        save()
        assert content(folder) == {"a": b"new"}
    else:
        with pytest.raises(error):
            save()
        assert (content(folder) if folder.exists() else None) == before
    assert list(tmp_path.iterdir()) == [folder] * folder.exists()


def test_a_folder_that_cannot_take_its_place_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "series"
    folder.mkdir()
    (folder / "old").write_bytes(b"1")
    rename = Path.rename

    def fail(path: Path, target: Path) -> Path:
        if target == folder and (path / "a").exists():
            raise OSError(28, "No space left on device")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(InrError, match="No space left"), atomic_folder(folder) as temporary:
        (temporary / "a").write_bytes(b"new")
    assert content(folder) == {"old": b"1"}
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.skipif(sys.platform == "win32", reason="no permission bits")
def test_an_old_folder_keeps_its_permissions(tmp_path: Path) -> None:
    (tmp_path / "series").mkdir(mode=0o750)
    with atomic_folder(tmp_path / "series"):
        pass
    assert stat.S_IMODE((tmp_path / "series").stat().st_mode) == 0o750


def test_what_a_killed_run_left_of_a_folder_is_removed_by_the_next(tmp_path: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path; from napari_inr_volume.core.atomic import atomic_folder\n"
        "with atomic_folder(Path(sys.argv[1])) as folder:\n"
        "    (folder / 'half').touch(); os._exit(9)"
    )
    folder = tmp_path / "series"
    assert subprocess.run([sys.executable, "-c", script, str(folder)], check=False).returncode == 9
    assert not folder.exists()
    assert [path for path in tmp_path.iterdir() if path.is_dir()]
    with atomic_folder(folder) as temporary:
        (temporary / "a").write_bytes(b"new")
    assert list(tmp_path.iterdir()) == [folder]
