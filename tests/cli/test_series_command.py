"""`inr-volume series`, and the choice of a series."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from commands import QUICK

from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.io.dicom_export import write_dicom_series
from napari_inr_volume.io.inr_file import read_inr


def test_series_lists_what_can_be_chosen(run: Any, tmp_path: Path) -> None:
    write_dicom_series(head_phantom((8, 32, 32)), tmp_path / "study" / "one", description="first")
    write_dicom_series(head_phantom((9, 32, 32)), tmp_path / "study" / "two", description="second")
    code, out, _ = run("series", tmp_path / "study", "--json")
    assert code == 0
    series = json.loads(out)["series"]
    assert {(line["description"], line["slices"]) for line in series} == {("first", 8), ("second", 9)}
    code, out, err = run("compress", tmp_path / "study", tmp_path / "x.inr", *QUICK)
    assert (code, out) == (2, "")
    assert "--series" in err
    for chosen in ("2", series[1]["key"]):
        run("compress", tmp_path / "study", tmp_path / "x.inr", *QUICK, "--series", chosen)
        assert read_inr(tmp_path / "x.inr").geometry.shape[0] == series[1]["slices"]


def test_text_of_files_is_shown_as_it_is_in_a_listing(run: Any, tmp_path: Path) -> None:
    write_dicom_series(head_phantom((8, 32, 32)), tmp_path / "one", description="[lung] [/b] :smile:")
    (tmp_path / "one" / "slice-0009[red].dcm").write_bytes(b"cut off")
    code, out, _ = run("series", tmp_path)
    assert code == 0
    assert "[lung] [/b] :smile:" in out
    assert "broken: 'slice-0009[red].dcm'" in out
    listed = json.loads(run("series", tmp_path, "--json")[1])
    assert listed["series"][0]["description"] == "[lung] [/b] :smile:"
    assert [Path(one["path"]).name for one in listed["broken"]] == ["slice-0009[red].dcm"]
