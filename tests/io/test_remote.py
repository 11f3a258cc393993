"""An `.inr` at a URL: a server on this machine counts the bytes that are fetched."""

from __future__ import annotations

import re
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from napari_inr_volume import load, save
from napari_inr_volume.codec import decompress
from napari_inr_volume.core.errors import InrFileError
from napari_inr_volume.core.volume import Volume
from napari_inr_volume.inr_volume import InrVolume
from napari_inr_volume.io.remote import FIRST
from napari_inr_volume.reader import Reader
from napari_inr_volume.session import compress

pytest.importorskip("aiohttp", reason="the extra remote is not installed")

GOLDEN = Path(__file__).parents[1] / "golden"


class Server(ThreadingHTTPServer):
    files: dict[str, bytes]
    ranges = True
    sent = 0


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        data = self.server.files.get(self.path)
        if data is None:
            self.send_error(404)
            return
        part = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        whole = data
        if part and self.server.ranges:
            data = data[int(part[1]) : int(part[2]) + 1]
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {part[1]}-{part[2]}/{len(whole)}")
        else:
            self.send_response(200)
        if self.server.ranges:
            self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.server.sent += len(data)
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server(("127.0.0.1", 0), Handler)
    made.files = {}
    thread = Thread(target=made.serve_forever)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


def opened(server: Server, name: str) -> InrVolume:
    found = load(f"http://127.0.0.1:{server.server_port}/{name}")
    assert isinstance(found, InrVolume)
    return found


def test_a_slice_fetches_its_slab_alone(server: Server, tmp_path: Path) -> None:
    voxels = np.random.default_rng(0).normal(size=(64, 48, 48)).astype(np.float32)
    save(compress(Volume.from_array(voxels), None, max_error=0), tmp_path / "a.inr")
    server.files["/a.inr"] = (tmp_path / "a.inr").read_bytes()
    inr = opened(server, "a.inr")
    assert server.sent == FIRST < len(server.files["/a.inr"]) / 10
    assert inr.exact is not None
    reader, before = Reader(inr), server.sent
    assert np.array_equal(reader.plane(20, "exact"), voxels[20])
    assert server.sent - before == inr.exact.slabs[1].length
    assert np.array_equal(
        reader.read((slice(17, 30), slice(3, 9), slice(5)), "exact"), voxels[17:30, 3:9, :5]
    )
    assert server.sent - before == inr.exact.slabs[1].length


def test_the_network_decodes_as_that_of_a_file_here(server: Server) -> None:
    server.files["/tiny.inr"] = (GOLDEN / "tiny-1.0.inr").read_bytes()
    here = load(GOLDEN / "tiny-1.0.inr")
    assert isinstance(here, InrVolume)
    there = opened(server, "tiny.inr")
    assert there == here
    assert np.array_equal(decompress(there).voxels, decompress(here).voxels)


def test_what_cannot_be_fetched_is_said_in_one_line(server: Server) -> None:
    with pytest.raises(InrFileError, match="there is no such file") as caught:
        opened(server, "none.inr")
    assert "\n" not in str(caught.value)
    server.files["/noise.inr"] = b"noise" * 9000
    with pytest.raises(InrFileError, match=r"noise.inr: it is not an .inr file"):
        opened(server, "noise.inr")
    with pytest.raises(InrFileError, match="nosuch"):
        load("nosuch://host/a.inr")


def test_a_server_that_gives_whole_files_only_is_refused(server: Server) -> None:
    server.files["/a.inr"], server.ranges = b"\x89INR" * 9000, False
    with pytest.raises(InrFileError, match="gives no parts of files"):
        opened(server, "a.inr")
