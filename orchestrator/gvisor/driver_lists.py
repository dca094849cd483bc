"""Which NVIDIA drivers a release supports: its own binary's word where it can run here, else the data's.

A binary is asked where it is on this machine already, or can be fetched. It is never built for the question, which
would take minutes. The answer says where it comes from, so that a person knows how far to trust it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from orchestrator.errors import GvisorNodesError
from orchestrator.gvisor import artifacts, cache, driver_history, selfreport
from orchestrator.gvisor.catalogue import Catalogue
from orchestrator.gvisor.elf import host_architecture
from orchestrator.gvisor.releases import RUNSC, release_key

if TYPE_CHECKING:
    from orchestrator.gvisor.artifact_set import ArtifactSet


@dataclass(frozen=True, slots=True)
class DriverList:
    """What is known of a release's drivers.

    Args:
        release: the release.
        listing: one driver a line, as the binary prints it.
        basis: ``binary`` or ``data``.
        note: why it is not the binary's word, or "".
    """

    release: str
    listing: str
    basis: Literal["binary", "data"]
    note: str = ""


def of_artifacts(found: ArtifactSet) -> str | None:
    """What the binary among a release's files says; None where it cannot be run on this machine."""
    if found.architecture != host_architecture():
        return None
    try:
        return selfreport.supported_drivers(found.directory / RUNSC)
    except selfreport.NoAnswerError:
        return None


def of_release(release: str, architecture: str, sources: artifacts.ArtifactSources, *, fetch: bool) -> DriverList:
    """The drivers of a release.

    Args:
        release: ``YYYYMMDD.N``.
        architecture: of the node.
        sources: where the release's files may come from.
        fetch: whether a release that is not here may be fetched (a Go module is never built for this).

    Raises:
        InvalidInputError: the name is malformed.
    """
    release_key(release)
    note = ""
    if architecture != host_architecture():
        note = f"a binary for {architecture} does not run on this machine"
    else:
        try:
            entry = Catalogue.load(sources.releases_files).entry(release, architecture)
            here = sources.directory is not None or cache.is_cached(entry, sources.cache)
            if not here and entry.layout == "module":
                note = f"the binary is not here: gvisor-nodes releases fetch {release} builds it"
            elif not here and not fetch:
                note = f"the binary is not here: gvisor-nodes releases fetch {release}"
            else:
                found = artifacts.resolve(release, architecture, sources)
                return DriverList(release, selfreport.supported_drivers(found.directory / RUNSC), "binary")
        except GvisorNodesError as error:
            note = ": ".join(part for part in (error.what, error.why) if part)
        except selfreport.NoAnswerError as error:
            note = str(error)
    listing = "".join(f"{driver}\n" for driver in driver_history.listed_by(release))
    return DriverList(release, listing, "data", note)
