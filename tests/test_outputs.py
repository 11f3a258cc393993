"""What a command replaces, what it never does, and where a result goes that cannot be saved as asked for."""

from __future__ import annotations

import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from napari_inr_volume.core.errors import InrError, SourceError
from napari_inr_volume.outputs import Output, check_folder


def is_own(path: Path) -> bool:
    return path.read_bytes().startswith(b"own")


@pytest.fixture
def output(tmp_path: Path) -> Output:
    return Output(path=tmp_path / "x.inr", suffixes=[".inr"], own=is_own, kind="an .inr")


def write(path: Path) -> str:
    path.write_bytes(b"own, new")
    return "done"


def test_a_free_name_and_a_file_of_the_own_kind_may_be_written(output: Output) -> None:
    output.check()
    output.path.write_bytes(b"own, old")
    output.check()
    assert output.keep(write) == "done"
    assert output.path.read_bytes() == b"own, new"
    assert list(output.path.parent.iterdir()) == [output.path]


@pytest.mark.parametrize("content", [b"", b"anything"], ids=["empty", "full"])
def test_a_file_of_another_kind_is_replaced_by_force_only(output: Output, content: bytes) -> None:
    output.path.write_bytes(content)
    with pytest.raises(SourceError, match=r"x\.inr' exists, and is not an \.inr; .* with --force"):
        output.check()
    replace(output, force=True).check()
    with pytest.raises(SourceError, match=r"x\.inr' exists; choose another name"):
        replace(output, own=None).check()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_write_protected_file_is_replaced_by_force_only(output: Output) -> None:
    output.path.write_bytes(b"own")
    output.path.chmod(0o400)
    with pytest.raises(SourceError, match="is write-protected"):
        output.check()
    replace(output, force=True).check()


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("link", ["the same path", "symlink_to", "hardlink_to"])
def test_the_source_itself_is_never_replaced(output: Output, force: bool, link: str) -> None:
    source = output.path.with_name("source")
    source.write_bytes(b"own")
    if link == "the same path":
        source = output.path
        source.write_bytes(b"own")
    else:
        try:
            getattr(output.path, link)(source)
        except OSError as error:
            pytest.skip(f"no such links here: {error}")
    with pytest.raises(SourceError, match="is the source itself"):
        replace(output, sources=(source,), force=force).check()


def test_a_file_of_a_source_folder_is_never_replaced_but_an_output_may_lie_there(output: Output) -> None:
    output = replace(output, sources=(output.path.parent,), force=True)
    output.check()
    output.path.write_bytes(b"own")
    output.check()
    output.path.write_bytes(b"a slice")
    with pytest.raises(SourceError, match="or a part of it"):
        output.check()


@pytest.mark.skipif(sys.platform == "win32", reason="hard links need no privilege elsewhere")
def test_a_link_to_a_file_of_a_source_folder_is_never_replaced(output: Output) -> None:
    study = output.path.with_name("study")
    (study / "deep").mkdir(parents=True)
    (study / "deep" / "slice").write_bytes(b"a slice")
    output.path.hardlink_to(study / "deep" / "slice")
    with pytest.raises(SourceError, match="or a part of it"):
        replace(output, sources=(study,), force=True).check()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("x.png", r"must end in \.inr"),
        ("folder.inr", "is a folder"),
        ("no/x.inr", "there is no folder"),
        ("null.inr", "is a device or a pipe"),
    ],
)
def test_what_is_no_place_for_a_file_is_told_before_the_work(output: Output, name: str, words: str) -> None:
    folder = output.path.parent
    (folder / "folder.inr").mkdir()
    if name == "null.inr":
        try:
            (folder / name).symlink_to(os.devnull)
        except OSError as error:
            pytest.skip(f"links need a privilege: {error}")
    with pytest.raises(SourceError, match=words):
        replace(output, path=folder / name, force=True).check()


def test_a_result_is_kept_beside_a_file_that_has_come_meanwhile(output: Output) -> None:
    with output.claimed():
        output.path.write_bytes(b"somebody else's")
        with pytest.raises(InrError, match=r"is not an \.inr; .*; the result is kept in .*x-kept\.inr"):
            output.keep(write)
        with pytest.raises(InrError, match=r"; the result is kept in .*x-kept1\.inr"):
            output.keep(write)
    assert output.path.read_bytes() == b"somebody else's"
    assert output.path.with_name("x-kept.inr").read_bytes() == b"own, new"
    assert output.path.with_name("x-kept1.inr").read_bytes() == b"own, new"


def test_a_result_is_kept_in_the_temporary_folder_if_its_own_is_gone(
    output: Output, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(elsewhere))
    gone = replace(output, path=tmp_path / "gone" / "x.inr")
    with pytest.raises(InrError, match=r"no folder .*gone.*; the result is kept in .*elsewhere.x-kept\.inr"):
        gone.keep(lambda path: write(path) if path.parent.is_dir() else output_fails(path))
    assert (elsewhere / "x-kept.inr").read_bytes() == b"own, new"


def output_fails(path: Path) -> str:
    raise InrError(f"cannot save {path}")


def test_a_result_that_can_be_saved_nowhere_ends_in_the_first_reason(output: Output) -> None:
    with pytest.raises(InrError, match=r"cannot save .*x\.inr$"):
        output.keep(output_fails)


def test_a_working_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    check_folder(tmp_path / "not there", is_own)
    (tmp_path / "mine").write_bytes(b"own")
    (tmp_path / ".hidden").write_bytes(b"left by a killed run")
    check_folder(tmp_path, is_own)
    (tmp_path / "letter").write_bytes(b"to a friend")
    with pytest.raises(SourceError, match="holds other files, such as letter"):
        check_folder(tmp_path, is_own)
