"""A file at a URL that fsspec can open; only the bytes that are asked for are fetched."""

from __future__ import annotations

from typing import Any

from ..core.errors import InrFileError
from ..core.extras import extra
from ..core.text import printable

FIRST = 2**14  # bytes fetched at once from the beginning, where sections lie that are all read


def is_url(path: object) -> bool:
    """Return whether a name is that of a remote file, such as https://... or s3://..."""
    return isinstance(path, str) and "://" in path


class RemoteFile:
    """What is needed of a binary file opened for reading. Not thread-safe.

    Raises InrFileError for what cannot be fetched, and for a server that gives no parts of files.
    """

    def __init__(self, url: str) -> None:
        with extra("remote", "a file at a URL", InrFileError):
            from fsspec.core import url_to_fs
        self.url = url
        try:
            self._files, self._path = url_to_fs(url)
            size = self._files.info(self._path).get("size")
        except ImportError as error:  # of a package for this kind of URL, which fsspec names
            raise InrFileError(f"{printable(url)}: {printable(str(error))}") from error
        except Exception as error:
            raise self._unread(error) from error
        if not isinstance(size, int):
            raise InrFileError(
                f"{printable(url)}: the server does not say how large it is; download the file"
            )
        self.size = size
        self._at = 0
        self._first = b""
        self._first = self._fetch(0, min(FIRST, size))

    def seek(self, position: int) -> int:
        """Go to a position from the beginning."""
        self._at = position
        return position

    def read(self, count: int) -> bytes:
        """Return up to so many bytes from the position on."""
        start, end = self._at, min(self._at + count, self.size)
        data = self._first[start:end]
        if start + len(data) < end:
            data += self._fetch(start + len(data), end)
        self._at = start + len(data)
        return data

    def _fetch(self, start: int, end: int) -> bytes:
        if start >= end:
            return b""
        try:
            data: Any = self._files.cat_file(self._path, start=start, end=end)
        except Exception as error:  # the packages behind fsspec have no closed set of errors
            raise self._unread(error) from error
        if len(data) != end - start:
            raise InrFileError(
                f"{printable(self.url)}: the server gives no parts of files, or the file has changed;"
                " download it"
            )
        return bytes(data)

    def _unread(self, error: Exception) -> InrFileError:
        missing = isinstance(error, FileNotFoundError)
        reason = "there is no such file" if missing else printable(str(error)) or type(error).__name__
        return InrFileError(f"{printable(self.url)}: cannot be read: {reason}")
