"""Fetch one file of the release bucket; what arrives is checked before anybody uses it.

An HTTP error, a login page of a proxy, half a file or other bytes than pinned never become a file with the wanted
name: the body goes to a temporary file, and only a body whose size and hashes are right is renamed. There is no resume
and no retry; a run that failed is run again.
"""

from __future__ import annotations

import functools
import hashlib
import http.client
import os
import re
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import IO, TYPE_CHECKING, Final

from orchestrator.errors import GvisorNodesError, InvalidInputError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from http.client import HTTPMessage
    from pathlib import Path

_CHUNK: Final = 256 * 1024
_TIMEOUT: Final = 30.0  # seconds without a single byte
_DEADLINE: Final = 3600.0  # seconds for one file, so that a server that drips bytes does not hold the lock for days
_MAX_FILE: Final = 1024 * 1024 * 1024  # the largest published file so far has 167 MB
_MAX_SUM: Final = 4096
_SUM = re.compile(rb"\s*([0-9a-fA-F]{128})(?:\s|$)")


class _SameScheme(urllib.request.HTTPRedirectHandler):
    """Follow a redirect only within the scheme: https must not become http on the way."""

    def redirect_request(  # noqa: PLR0917 - urllib's signature
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        old, new = (urllib.parse.urlsplit(url).scheme for url in (req.full_url, newurl))
        if old != new:
            fp.close()
            raise GvisorNodesError(
                f"{req.full_url} redirects to {newurl}",
                why=f"a redirect from {old} to {new or 'no scheme'} is not followed",
                remedy="give a bucket URL that needs no such redirect, or an operator's directory",
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def check_bucket(bucket: str) -> None:
    """Refuse a bucket that is no http(s) URL.

    Raises:
        InvalidInputError: another scheme, no host, or credentials in the URL (they would end in logs).
    """
    parts = urllib.parse.urlsplit(bucket)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username or parts.query:
        raise InvalidInputError(
            "the release bucket is not usable",
            why="it must be an http:// or https:// URL without user, password or query",
            remedy="for files on this machine give an operator's directory instead",
        )


def published_sha512(url: str) -> str:
    """The hash the publisher put beside a file.

    Args:
        url: the file's URL; ``.sha512`` is appended.

    Returns:
        128 lower-case hex digits.

    Raises:
        GvisorNodesError: it cannot be fetched, or the answer holds no SHA-512.
    """
    address = f"{url}.sha512"
    body = bytearray()
    _read(address, body.extend, _MAX_SUM)
    match = _SUM.match(bytes(body))
    if match is None:
        raise GvisorNodesError(
            f"{address} holds no SHA-512",
            why=f"it starts with {bytes(body[:40])!r}",
            remedy="check the bucket's address, and whether a proxy answers in its place",
        )
    return match[1].decode().lower()


def fetch(url: str, target: Path, expected: str, progress: Callable[[str], None]) -> None:
    """Download a file whose hash is pinned and published.

    Args:
        url: where it is.
        target: file to create; it exists afterwards only if everything was right.
        expected: ``sha512:<hex>`` or ``sha256:<hex>`` from the catalogue.
        progress: told about the start and every tenth.

    Raises:
        GvisorNodesError: the server cannot be reached, answers with an error, or sends too little.
        RefusedError: the publisher's hash is not the pinned one, or the body has another hash.
    """
    algorithm, _, pinned = expected.partition(":")
    published = published_sha512(url)
    if algorithm == "sha512" and published != pinned:
        raise RefusedError(
            f"the publisher's hash of {url} is not the pinned one",
            why=f"expected sha512 {pinned}, {url}.sha512 says {published}",
            remedy="do not use this file; find out whether the release was published anew or the bucket is not genuine",
        )
    hashes = {"sha512": hashlib.sha512()}
    hashes.setdefault(algorithm, hashlib.new(algorithm))
    partial = target.with_name(f".{target.name}.partial")
    try:
        with partial.open("xb") as file:

            def write(chunk: bytes) -> None:
                file.write(chunk)
                for running in hashes.values():
                    running.update(chunk)

            content_type = _read(url, write, _MAX_FILE, progress)
            file.flush()
            os.fsync(file.fileno())
        for name, wanted in ((algorithm, pinned), ("sha512", published)):
            found = hashes[name].hexdigest()
            if found != wanted:
                page = f"; the server called it {content_type}" if "html" in content_type else ""
                raise RefusedError(
                    f"{url} has the wrong hash",
                    why=f"expected {name} {wanted}, found {found}{page}",
                    remedy="nothing was kept; try again, and if it stays so, do not use this source",
                )
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


@functools.cache
def _opener() -> urllib.request.OpenerDirector:
    # One for all files: each reads every certificate authority of this machine, also for a file that comes without TLS.
    return urllib.request.build_opener(_SameScheme)


def _read(url: str, write: Callable[[bytes], object], limit: int, progress: Callable[[str], None] | None = None) -> str:
    """Read a URL's body into ``write`` and return its content type."""
    remedy = "check the network and the bucket's address, or give an operator's directory with the files"
    request = urllib.request.Request(  # noqa: S310 - check_bucket allows http and https only
        url, headers={"User-Agent": "gvisor-nodes", "Accept-Encoding": "identity"}
    )
    try:
        with _opener().open(request, timeout=_TIMEOUT) as response:
            if response.status != http.client.OK:
                raise GvisorNodesError(f"{url} cannot be fetched", why=f"HTTP status {response.status}", remedy=remedy)
            announced = response.headers.get("Content-Length")
            total = int(announced) if announced and announced.isdigit() else None
            count = 0
            tenth = 0
            if progress is not None:
                progress(f"downloading {url}" + (f" ({total / 1e6:.0f} MB)" if total else ""))
            deadline = time.monotonic() + _DEADLINE
            while chunk := response.read1(_CHUNK):
                count += len(chunk)
                if time.monotonic() > deadline:
                    raise TimeoutError(f"not finished after {_DEADLINE:.0f} s")  # noqa: TRY301 - handled with the others
                if count > limit:
                    raise RefusedError(f"{url} is too big", why=f"more than {limit} bytes", remedy=remedy)
                write(chunk)
                if progress is not None and total and count * 10 // total > tenth:
                    tenth = count * 10 // total
                    progress(f"downloading {url}: {tenth * 10} %")
            if total is not None and count != total:
                raise GvisorNodesError(
                    f"the download of {url} was cut off",
                    why=f"expected {total} bytes, got {count}",
                    remedy="nothing was kept; try again",
                )
            return str(response.headers.get("Content-Type", ""))
    except urllib.error.HTTPError as error:
        error.close()
        hint = "; releases after 20260817.0 have no loose files" if error.code == http.client.NOT_FOUND else ""
        raise GvisorNodesError(
            f"{url} cannot be fetched", why=f"HTTP status {error.code} {error.reason}{hint}", remedy=remedy
        ) from error
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError, ssl.SSLError) as error:
        reason = getattr(error, "reason", None) or error
        raise GvisorNodesError(
            f"{url} cannot be fetched", why=str(reason) or type(error).__name__, remedy=remedy
        ) from (error)
