"""A loopback server with the release bucket's real layout, and small real static binaries to put into it.

The binaries are one C program, compiled once, that prints a text; the text is patched into its bytes, so a test can
have a runsc of any release for the price of a copy.
"""

from __future__ import annotations

import bz2
import hashlib
import io
import json
import tarfile
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from orchestrator.gvisor.artifacts import ArtifactSources
from orchestrator.gvisor.elf import host_architecture

RELEASE = "20260817.1"  # in no catalogue; a date at which the sidecars of 20260817.0 are all there
HTML = b"<!DOCTYPE html><html><body>The specified key does not exist.</body></html>"
SIDECARS = ("checkpointgofer", "gvisor-sentry-prewarmer", "gvisor_sentry", "runsc-metric-server")
_MARK = b"@TEXT@"
PROGRAM = """
volatile char text[256] = "@TEXT@";
#ifdef DYNAMIC
#include <stdio.h>
int main(void) { return puts((const char *)text) < 0; }
#else
/* Without libc, so that a test moves kilobytes. */
static long call(long number, long a, long b, long c) {
#ifdef __x86_64__
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
    return result;
#else
    register long x8 __asm__("x8") = number, x0 __asm__("x0") = a, x1 __asm__("x1") = b, x2 __asm__("x2") = c;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
    return x0;
#endif
}
#ifdef __x86_64__
enum { WRITE = 1, EXIT = 60 };
#else
enum { WRITE = 64, EXIT = 93 };
#endif
void _start(void) {
    long length = 0;
    while (text[length]) length++;
    call(WRITE, 1, (long)text, length);
    call(EXIT, 0, 0, 0);
}
#endif
"""
_MACHINES = {"x86_64": 62, "aarch64": 183}


def sha512(content):
    return hashlib.sha512(content).hexdigest()


def pin(content, algorithm="sha512"):
    return f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"


@dataclass
class Answer:
    body: bytes = b""
    status: int = 200
    kind: str = "application/octet-stream"
    length: int | None = None  # announced instead of the true one
    location: str = ""
    gate: threading.Event | None = None  # the body waits for this
    asked: threading.Event = field(default_factory=threading.Event)


class Bucket:
    """The server: answers by path, and a list of what was asked."""

    def __init__(self):
        self.answers = {}
        self.requests = []
        bucket = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                bucket.requests.append(self.path)
                answer = bucket.answers.get(self.path, Answer(HTML, 404, "text/html"))
                answer.asked.set()
                if answer.gate is not None:
                    answer.gate.wait(60)
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.kind)
                self.send_header("Content-Length", str(len(answer.body) if answer.length is None else answer.length))
                if answer.location:
                    self.send_header("Location", answer.location)
                self.end_headers()
                self.wfile.write(answer.body)

            def log_message(self, *_args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/releases/release"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05})
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def put(self, path, body, **more):
        """Publish a file with its .sha512, as the release bucket does."""
        where = f"/releases/release/{path}"
        self.answers[where] = Answer(body, **more)
        self.answers[f"{where}.sha512"] = Answer(f"{sha512(body)}  {path.rpartition('/')[2]}\n".encode())
        return self.answers[where]


class World:
    """What a test of resolving needs, in one place."""

    def __init__(self, root, program, dynamic, bucket):
        self.root = root
        self.cache = root / "cache"
        self.program = program
        self.dynamic = dynamic
        self.bucket = bucket
        self.arch = host_architecture()
        self.foreign = next(name for name in _MACHINES if name != self.arch)

    def binary(self, text, arch="", program=b""):
        program = program or self.program
        at = program.index(_MARK)
        content = bytearray(program)
        content[at : at + len(text) + 1] = text.encode() + b"\0"
        if arch:
            content[18:20] = _MACHINES[arch].to_bytes(2, "little")
        return bytes(content)

    def runsc(self, release=RELEASE, **more):
        return self.binary(f"runsc version release-{release}\nspec: 1.2.1\n", **more)

    def shim(self, version="2.1.5+unknown", **more):
        return self.binary(f"containerd-shim-runsc-v1:\n  Version:  {version}\n  Revision: \n", **more)

    def loose(self, release=RELEASE, **more):
        return {"runsc": self.runsc(release, **more), "containerd-shim-runsc-v1": self.shim(**more)}

    def full(self, release=RELEASE):
        files = self.loose(release)
        for name in SIDECARS:
            label = "" if name == "gvisor-sentry-prewarmer" else f" release-{release}"
            files[f"gvisor-bin/{name}"] = self.binary(f"{name}{label}\n")
        return files

    @staticmethod
    def tarball(files, mode=0o755, members=()):
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w") as tar:
            for name, body in files.items():
                info = tarfile.TarInfo(name)
                info.size, info.mode = len(body), mode
                tar.addfile(info, io.BytesIO(body))
            for member in members:
                tar.addfile(member)
        return bz2.compress(content.getvalue(), 1)

    def entry(self, files, layout="loose", release=RELEASE, arch="", **more):
        return {
            "release": release,
            "architecture": arch or self.arch,
            "layout": layout,
            "source": "a test",
            "date": "2026-09-01",
            "files": files,
            **more,
        }

    def catalogue(self, *entries, name="catalogue.json"):
        path = self.root / name
        path.write_text(json.dumps({"schema": 1, "releases": entries}))
        return path

    def sources(self, *entries, **more):
        return ArtifactSources(
            releases_files=(self.catalogue(*entries),), cache=self.cache, bucket=self.bucket.url, **more
        )

    def publish_loose(self, files=None, arch=""):
        """Put loose files into the bucket and return their catalogue entry."""
        arch = arch or self.arch
        files = files or self.loose()
        for name, body in files.items():
            self.bucket.put(f"{RELEASE}/{arch}/{name}", body)
        return self.entry({name: pin(body) for name, body in files.items()}, arch=arch)

    def publish_tarball(self, files=None, *, members_pinned=False, **more):
        """Put a tarball into the bucket and return its catalogue entry."""
        files = files or self.full()
        body = self.tarball(files, **more)
        self.bucket.put(f"{RELEASE}/{self.arch}/gvisor.tar.bz2", body)
        hashes = {"gvisor.tar.bz2": pin(body)}
        if members_pinned:
            hashes |= {name: pin(content) for name, content in files.items()}
        return self.entry(hashes, "tarball")

    def write(self, files, *parts, mode=0o755):
        """Lay files into a directory below the test's root."""
        where = self.root.joinpath(*parts)
        for name, body in files.items():
            path = where / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)
            path.chmod(mode)
        return where

    def kept(self):
        """What the cache holds that could be used: published slots, and anything half done."""
        return sorted(
            str(path.relative_to(self.cache))
            for top in ("releases", "partial")
            for path in (self.cache / top).rglob("*")
        )


def snapshot(directory):
    return {
        str(path.relative_to(directory)): (
            path.lstat().st_mode,
            path.readlink() if path.is_symlink() else path.read_bytes() if path.is_file() else b"",
        )
        for path in sorted(directory.rglob("*"))
    }
