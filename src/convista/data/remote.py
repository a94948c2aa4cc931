"""Parts of a file on a web server: by Range requests, again where the line breaks, with one clear error in the end."""

from __future__ import annotations

import base64
import http.client
import io
import netrc
import string
import time
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.error import HTTPError, URLError
from urllib.parse import quote, unquote, urlsplit
from urllib.request import Request, urlopen

from convista.errors import DataError
from convista.files import without_login, without_secrets

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["Remote", "RemoteStream", "sent_as"]

WAITS = (0.2, 1.0, 4.0)  # seconds before the second, third and fourth try
TIMEOUT = 30.0  # seconds without a word
PIECE = 1 << 16  # bytes taken from the line at once


class Remote:
    """A file on a web server. A login comes from the address, else from `~/.netrc`; messages never show it."""

    def __init__(self, address: str):
        self.address, self.shown = without_login(address), without_secrets(address)
        try:
            self.login, self.sent = _login(address), sent_as(address)
        except ValueError:  # whose text may hold the login
            raise DataError(f"{self.shown} is not a web address; expected https://HOST/PATH or http://…") from None
        self.size, self.version = 0, ""
        self.part(0, 1)

    def part(self, start: int, size: int) -> bytes:
        """`size` bytes from `start` on; fewer where the file ends. Raises `DataError` when the server keeps failing."""
        got, problem = bytearray(), ""
        for wait in (0.0, *WAITS):
            time.sleep(wait)
            try:
                self._fetch(start, size, got)
                if len(got) >= min(size, self.size - start):
                    return bytes(got)
                problem = "the connection ended too early"
            except HTTPError as error:
                error.close()
                if error.code == 416:  # nothing there: an empty file, or its end
                    return bytes(got)
                problem = f"the server answers {error.code} {error.reason}"
                if error.code < 500 and error.code not in (408, 429):
                    hint = " A login can be put into ~/.netrc." if error.code in (401, 403) else ""
                    raise DataError(f"{self.shown}: {problem}.{hint}") from None
            except (URLError, OSError, http.client.HTTPException, ValueError) as error:  # sent on to no address
                problem = str(getattr(error, "reason", error) or type(error).__name__)
        raise DataError(f"{self.shown} cannot be read: {problem} ({1 + len(WAITS)} tries).")

    def _fetch(self, start: int, size: int, got: bytearray) -> None:
        """Adds what is still missing to `got`, piece by piece, so that a broken line loses nothing."""
        first, last = start + len(got), start + size - 1
        request = Request(self.sent, headers={"Range": f"bytes={first}-{last}", "User-Agent": "convista"})
        if self.login:
            request.add_unredirected_header("Authorization", self.login)
        with urlopen(request, timeout=TIMEOUT) as response:
            whole = response.headers.get("Content-Range", "").rpartition("/")[2]
            if response.status != 206 or not whole.isdigit():
                raise DataError(
                    f"{self.shown}: the server does not give parts of files (HTTP Range requests), which shards are "
                    "read by. Copy them to a disk, or serve them by one that does, such as nginx."
                )
            if self.size not in (0, int(whole)):
                raise DataError(
                    f"{self.shown} has changed on the server while it was read. Give the same command again."
                )
            self.size = int(whole)
            self.version = response.headers.get("ETag") or response.headers.get("Last-Modified", "")
            while piece := response.read(min(PIECE, size - len(got))):
                got += piece


class RemoteStream(io.RawIOBase):
    """A `Remote` as a stream that can seek; buffered, it is read in large parts."""

    def __init__(self, remote: Remote):
        self.remote, self.place = remote, 0

    def readable(self) -> bool:
        """It can be read."""
        return True

    def seekable(self) -> bool:
        """It can go anywhere."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Goes to a byte without asking the server."""
        self.place = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.place, io.SEEK_END: self.remote.size}[whence]
        return self.place

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fills the buffer by one request."""
        view = memoryview(buffer).cast("B")
        data = self.remote.part(self.place, len(view)) if self.place < self.remote.size else b""
        view[: len(data)] = data
        self.place += len(data)
        return len(data)


def sent_as(address: str) -> str:
    """A web address, without its login, in the letters that servers take. Raises `ValueError` where it is none.

    >>> sent_as("http://bücher.example/bäume/1.tar")
    'http://xn--bcher-kva.example/b%C3%A4ume/1.tar'
    """
    parts = urlsplit(without_login(address))
    host, colon, port = parts.netloc.partition(":")
    if not host.startswith("["):  # an address of IPv6 has no letters to encode
        host = host.encode("idna").decode()
    path, query = (quote(part, safe=string.punctuation) for part in (parts.path, parts.query))  # % is left: it is done
    return parts._replace(netloc=f"{host}{colon}{port}", path=path, query=query).geturl()


def _login(address: str) -> str:
    """What a server is told that asks for a login; nothing where none is known."""
    parts = urlsplit(address)
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if not user:
        with suppress(OSError, netrc.NetrcParseError):
            user, _, password = netrc.netrc().authenticators(parts.hostname or "") or ("", "", "")
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode() if user else ""
