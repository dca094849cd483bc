"""Everything that a ContainerRuntime wants in the seed: one ManagedResource of its pool, one of all pools. Pure.

Names are those of the upstream extension, so that this controller takes its place where it is: the resource manager
then removes upstream's DaemonSet and ConfigMap, because no manifest names them any more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from orchestrator.api.gvisor_configuration import GVisorConfiguration
from orchestrator.controller.managed_resource import Bundle, bundle
from orchestrator.controller.pool_objects import pool_objects
from orchestrator.controller.pool_settings import PoolSettings, settle
from orchestrator.controller.runtime_class import RUNTIME_CLASS

if TYPE_CHECKING:
    from orchestrator.api.container_runtime import ContainerRuntime
    from orchestrator.controller.installation import Installation

SHARED: Final = "extension-runtime-gvisor"
"""The ManagedResource of all pools of a Shoot."""


@dataclass(frozen=True, slots=True)
class SeedObjects:
    """What is wanted, and what the configuration came to."""

    shared: Bundle
    pool: Bundle
    settings: PoolSettings

    @property
    def bundles(self) -> tuple[Bundle, Bundle]:
        """Both, in the order in which they are written."""
        return self.shared, self.pool


def pool_name(runtime: ContainerRuntime) -> str:
    """The name of the ManagedResource of an object's pool."""
    return f"{SHARED}-installation-{runtime.spec.worker_pool.name}"


def seed_objects(runtime: ContainerRuntime, installation: Installation) -> SeedObjects:
    """What a ContainerRuntime wants; all of it, or an error.

    Neither the Shoot's nodes nor whether it sleeps make a difference: the resource manager applies it when it can.

    Raises:
        ConfigurationError: the owner of the pool must correct the configuration.
        InvalidInputError: somebody else must correct something.
    """
    settings = settle(GVisorConfiguration.read(runtime.spec.provider_config), installation)
    return SeedObjects(
        shared=bundle(SHARED, runtime.namespace, [RUNTIME_CLASS]),
        pool=bundle(pool_name(runtime), runtime.namespace, pool_objects(runtime, settings, installation)),
        settings=settings,
    )
