#!/usr/bin/python
# Copyright the gvisor-nodes authors
# SPDX-License-Identifier: Apache-2.0
"""Put one gVisor release into its own immutable directory, proved before it gets its name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gvisor_release
short_description: Place a gVisor release on a node
description:
  - Where the release is whole already, only the binary is run. Where it is not, the first call makes a private
    directory and asks for the upload; the second unpacks it, checks every file's sha512, runs the binary
    (C(--version), then the flags), and renames the directory to its final name.
options:
  token: {type: str, required: true, description: The token of the lease, and the name of the upload directory.}
  login: {type: str, default: '', description: The user that uploads.}
  host_root: {type: path, default: /, description: The root directory of the host.}
  host_live: {type: bool, default: false, description: Whether the host runs whose root that is.}
  state_directory: {type: path, description: Where the journal is.}
  directory: {type: path, description: Where releases are.}
  release: {type: str, description: The release.}
  files: {type: dict, description: sha512 by relative path.}
  source: {type: path, description: A directory of this machine with these files; else they come as an upload.}
  flags: {type: list, elements: str, description: Flags that the binary must accept.}
  drivers: {type: bool, default: false, description: Whether to return the NVIDIA drivers that the binary supports.}
author: The gvisor-nodes authors
"""

import hashlib
import os
import pwd
import shutil
import tarfile
import time
import zlib

from ansible.module_utils.gvisor_host import listdir, supported_drivers
from ansible.module_utils.gvisor_journal import (
    Journal,
    Lease,
    NodeError,
    file_digest,
    remove_tree,
    sync_directory,
)
from ansible.module_utils.gvisor_module import REQUIRED, respond
from ansible.module_utils.gvisor_root import run

UPLOADS = "/run/gvisor-nodes"
UPLOAD_KEPT_SECONDS = 3600


def prepare(root, options):
    """A directory only the login user can enter; forgotten ones of dead runs go."""
    base = root.real(UPLOADS)
    os.makedirs(base, mode=0o755, exist_ok=True)
    for name in listdir(base):
        path = os.path.join(base, name)
        if name.startswith("upload-") and time.time() - os.lstat(path).st_mtime > UPLOAD_KEPT_SECONDS:
            shutil.rmtree(path, ignore_errors=True)
    target = os.path.join(base, "upload-" + options["token"])
    os.makedirs(target, mode=0o700, exist_ok=True)
    uid = int(os.environ.get("SUDO_UID", "-1"))
    if uid < 0 and options["login"]:
        try:
            uid = pwd.getpwnam(options["login"]).pw_uid
        except KeyError:
            uid = os.getuid()
    if uid >= 0:
        os.chown(target, uid, -1)
    return target


def check_binary(runsc, release, flags):
    """The node itself runs the binary: version, then the flags, which the binary alone knows all rules of."""
    rc, out, err = run([runsc, "--version"], timeout=30)
    if rc != 0 or ("release-" + release) not in out:
        raise NodeError(
            "runsc does not run on this node" if rc else "runsc is of another release",
            why=(err or out).strip()[:500] or "exit code %d" % rc,
            remedy="check that the file system allows execution and that the architecture fits (runsc_directory)",
        )
    if flags:
        # gVisor validates names, enums and cross rules before it looks at the root, so nothing is made here.
        rc, out, err = run([runsc, "--root=/nonexistent", *flags, "list"], timeout=30)
        if rc != 0:
            # Newer releases warn of deprecated flags before they say what is wrong.
            text = "\n".join(line for line in (err or out).splitlines() if line.strip() and "WARNING" not in line)
            raise NodeError(
                "runsc %s refuses the flags %s" % (release, " ".join(flags)),
                why=text.splitlines()[0][:500] if text else "exit code %d" % rc,
                remedy="correct runsc_flags; nothing uses them yet",
            )


def place(root, options):
    Lease(root, options["token"]).renew()
    journal = Journal(root, options["state_directory"])
    base = os.path.join(options["directory"], "releases")
    final = os.path.join(base, options["release"])
    real = root.real(final)
    whole = all(
        os.path.isfile(os.path.join(real, path)) and file_digest(os.path.join(real, path), "sha512") == digest
        for path, digest in options["files"].items()
    )
    if whole:
        check_binary(os.path.join(real, "runsc"), options["release"], options["flags"])
        return {"changed": False, "drivers": drivers(real, options)}
    archive = os.path.join(root.real(UPLOADS), "upload-" + options["token"], "release.tar.gz")
    if not options["source"] and not os.path.isfile(archive):
        return {"changed": False, "upload": prepare(root, options)}
    journal.make_directory(base)
    incoming = final + ".incoming"
    journal.announce([incoming], "directory", tree=True)
    journal.announce([final], "directory", tree=True)
    if os.path.lexists(root.real(incoming)):
        shutil.rmtree(root.real(incoming))
    if options["source"]:
        copy(options["source"], root.real(incoming), options["files"])
    else:
        unpack(archive, root.real(incoming), options["files"])
    check_binary(os.path.join(root.real(incoming), "runsc"), options["release"], options["flags"])
    if os.path.lexists(real):
        remove_tree(real)
    os.rename(root.real(incoming), real)
    sync_directory(root.real(base))
    if not options["source"]:
        shutil.rmtree(os.path.dirname(archive), ignore_errors=True)
    return {"changed": True, "drivers": drivers(real, options)}


def drivers(release, options):
    """The NVIDIA drivers this very binary supports, one a line; needs no GPU. Empty of a release that has no list."""
    if not options["drivers"]:
        return None
    return supported_drivers(os.path.join(release, "runsc")) or ""


def copy(source, target, files):
    """The expected files of a directory of this very machine."""
    make(target)
    for path, digest in sorted(files.items()):
        with open(os.path.join(source, path), "rb") as file:
            write(target, path, file, digest)


def make(directory):
    os.makedirs(directory, mode=0o755, exist_ok=True)
    os.chmod(directory, 0o755)


def write(target, name, source, digest):
    """One file of a release, hashed as it is written, so that what was looked at is what is there."""
    path = os.path.join(target, name)
    make(os.path.dirname(path))
    found = hashlib.sha512()
    with open(path, "wb") as file:
        for block in iter(lambda: source.read(1 << 20), b""):
            found.update(block)
            file.write(block)
        file.flush()
        os.fchmod(file.fileno(), 0o755)
        os.fsync(file.fileno())
    if found.hexdigest() != digest:
        raise NodeError(
            "%s arrived damaged" % name,
            why="its sha512 is not the one of the controller's file",
            remedy="run the same command again",
        )


def unpack(archive, target, files):
    """Only the expected regular files, never a path of the archive's choice."""
    make(target)
    seen = set()
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                if member.name not in files or not member.isreg():
                    raise NodeError("the uploaded archive holds %r, which does not belong to the release" % member.name)
                with tar.extractfile(member) as source:
                    write(target, member.name, source, files[member.name])
                seen.add(member.name)
    except (tarfile.TarError, zlib.error, EOFError) as error:
        raise NodeError("the release arrived damaged", why=str(error), remedy="run the same command again") from None
    if seen != set(files):
        raise NodeError("the uploaded archive lacks %s" % ", ".join(sorted(set(files) - seen)))


DEFAULTS = {
    "token": REQUIRED,
    "login": "",
    "state_directory": None,
    "directory": None,
    "release": None,
    "files": {},
    "source": "",
    "flags": [],
    "drivers": False,
}


def main(arguments):
    what, remedy = "cannot place release %(release)s", "check space and permissions of %(directory)s"
    respond(place, arguments, DEFAULTS, what, remedy)
