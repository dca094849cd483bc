"""What the operator decides about runs over SSH. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SshSettings:
    """How nodes are reached, and what from.

    Attributes:
        user: who logs in; empty for Gardener's own user in a Shoot, and for root elsewhere.
        port: of sshd.
        become: whether that user, if it is not root, becomes root by sudo.
        key_secret: the Secret with the key, as namespace/name; empty for none.
        key_file: the file with it; empty for none. With neither, the key pairs of the Shoot.
        known_hosts: the file with the nodes' host keys; empty to believe each node when it is first seen.
        artifacts_directory: where gVisor's releases are on this machine; empty for the sources that a run has anyway.
        at_once: how many runs there are at once, in all clusters.
        timeout: seconds after which a run is stopped.
    """

    user: str = ""
    port: int = 22
    become: bool = True
    key_secret: str = ""
    key_file: str = ""
    known_hosts: str = ""
    artifacts_directory: str = ""
    at_once: int = 5
    timeout: int = 300
