"""Two processes never write one file at the same time, and a lock ends with its process."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from napari_inr_volume.core.atomic import atomic_write, claimed
from napari_inr_volume.core.errors import InrError

HOLDER = """
import sys
from pathlib import Path
from napari_inr_volume.core.atomic import atomic_write
with atomic_write(Path(sys.argv[1])) as temporary:
    temporary.write_bytes(b"half")
    print("writing", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is in the middle of saving x.inr, until its standard input ends."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path / "x.inr"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == b"writing"
        yield process
        process.kill()


def test_a_file_that_another_process_writes_is_refused_with_its_number(
    holder: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    words = rf"x\.inr is being written by another run \(process {holder.pid}\); wait until that ends"
    with pytest.raises(InrError, match=words), atomic_write(tmp_path / "x.inr"):
        pytest.fail("the block must not start")
    with atomic_write(tmp_path / "y.inr") as temporary:
        temporary.write_bytes(b"another file")
    holder.communicate()
    assert (tmp_path / "x.inr").read_bytes() == b"half"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.inr", "y.inr"]


def test_what_a_killed_process_left_goes_with_the_next_save(
    holder: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    holder.kill()
    holder.wait()
    left = {path.name for path in tmp_path.iterdir()}
    assert len(left) == 2  # the temporary file and the lock
    with atomic_write(tmp_path / "y.inr") as temporary:
        temporary.write_bytes(b"another file")
    assert left < {path.name for path in tmp_path.iterdir()}
    with atomic_write(tmp_path / "x.inr") as temporary:
        temporary.write_bytes(b"new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.inr", "y.inr"]
    assert (tmp_path / "x.inr").read_bytes() == b"new"


def test_one_process_may_claim_a_file_and_save_to_it_twice_at_once(tmp_path: Path) -> None:
    path = tmp_path / "x.inr"
    with claimed(path):
        with atomic_write(path) as outer:
            outer.write_bytes(b"outer")
            with atomic_write(path) as inner:
                inner.write_bytes(b"inner")
            assert path.read_bytes() == b"inner"
        assert path.read_bytes() == b"outer"
        assert len(list(tmp_path.iterdir())) == 2  # the lock is there until the claim ends
    assert list(tmp_path.iterdir()) == [path]


def test_a_claim_is_on_the_file_and_not_on_the_link(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    link = tmp_path / "link.inr"
    try:
        link.symlink_to(tmp_path / "there" / "x.inr")
    except OSError as error:
        pytest.skip(f"links need a privilege: {error}")
    with claimed(link):
        (lock,) = (tmp_path / "there").iterdir()
        assert re.fullmatch(r"\.x\.inr\.[0-9a-f]{8}\.lock", lock.name)


@pytest.mark.parametrize(
    "name", ["{braces}.inr", "x" * 251 + ".inr", "ä*[?].inr"], ids=["braces", "long", "glob"]
)
def test_any_name_can_be_claimed(tmp_path: Path, name: str) -> None:
    if sys.platform == "win32" and "*" in name:
        pytest.skip("no such names there")
    with claimed(tmp_path / name), atomic_write(tmp_path / name) as temporary:
        temporary.write_bytes(b"new")
    assert [path.name for path in tmp_path.iterdir()] == [name]
