"""What a lab needs built, side by side: one lane for what waits for a mirror, one for what wants the processor.

Go uses all cores by itself, so one ``go build`` runs at a time; a debootstrap beside it mostly waits for the network
and the disk. An image with another containerd waits for both lanes. Each build is done once however many ask for it.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Self

from orchestrator.lab.artifacts import LabReleases
from orchestrator.lab.containerd import ensure_containerd
from orchestrator.lab.containerd_image import ContainerdImage
from orchestrator.lab.image import NodeImage
from orchestrator.lab.kinds import KINDS, ContainerdKind, Kind, kind_named

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from types import TracebackType

    from orchestrator.lab.capabilities import Capabilities
    from orchestrator.lab.engine import Engine
    from orchestrator.lab.program import Progress


class Builds:
    """Use it in a ``with`` block; what has not begun when the block ends does not begin any more.

    Results are futures: one waits for what one needs next, and a failure is raised there.
    """

    def __init__(self, engine: Engine, capabilities: Capabilities, progress: Progress) -> None:
        self.releases = LabReleases.of(patched=not capabilities.lowers_oom_score)
        self._engine = engine
        self._capabilities = capabilities
        self._progress = progress
        self._programs = ThreadPoolExecutor(max_workers=1, thread_name_prefix="go")
        self._debian = ThreadPoolExecutor(max_workers=1, thread_name_prefix="debootstrap")
        self._layers = ThreadPoolExecutor(max_workers=len(KINDS), thread_name_prefix="layer")  # they mostly wait

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for lane in (self._programs, self._debian, self._layers):
            lane.shutdown(wait=False, cancel_futures=True)
        for lane in (self._programs, self._debian, self._layers):
            lane.shutdown(wait=True)

    def images(self, names: Iterable[str]) -> dict[str, Future[str]]:
        """Return the tag of the image of each kind; Debian's are built first, because the others are made of them."""
        images = {kind.name: self._image(kind) for kind in map(kind_named, names)}
        missing = [image for image in images.values() if not self._engine.has_image(image.tag)]
        layers = [image for image in missing if isinstance(image, ContainerdImage)]
        debian = [image for image in missing if isinstance(image, NodeImage)] + [image.base for image in layers]
        made = {
            tag: self._debian.submit(image.ensure, self._engine, self._progress)
            for tag, image in {image.tag: image for image in debian}.items()
        }
        for image in layers:
            programs = self._programs.submit(ensure_containerd, image.kind.version, self._progress)
            made[image.tag] = self._layers.submit(self._layer, image, made[image.base.tag], programs)
        return {name: made.get(image.tag) or _there(image.tag) for name, image in images.items()}

    def release(self, release: str) -> Future[Path]:
        """Return the directory of a gVisor release's binaries, after the containerds that were asked for before."""
        return self._programs.submit(self.releases.ensure, release, self._progress)

    def _image(self, kind: Kind) -> NodeImage | ContainerdImage:
        if isinstance(kind, ContainerdKind):
            return ContainerdImage.of(kind, self._capabilities)
        return NodeImage.of(kind, self._capabilities)

    def _layer(self, image: ContainerdImage, base: Future[str], programs: Future[Path]) -> str:
        base.result()
        return image.ensure(self._engine, programs.result(), self._progress)


def _there(tag: str) -> Future[str]:
    done: Future[str] = Future()
    done.set_result(tag)
    return done
