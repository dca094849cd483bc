"""The Cluster (``extensions.gardener.cloud/v1alpha1``): what gardenlet tells extensions of a Shoot.

It is named like the Shoot's namespace in the seed, and read only. Its parts are raw objects of any version of Gardener;
whatever is missing in them is absent, never an error. Source: gardener/gardener v1.149.3,
``pkg/apis/extensions/v1alpha1/types_cluster.go``, ``extensions/pkg/controller/shoot.go``.
"""

from __future__ import annotations

from pydantic import Field

from orchestrator.api import gardener
from orchestrator.api.last_operation import LastOperation, OperationState
from orchestrator.api.view import KubernetesObject, Metadata, RawObject, View, pick


class Hibernation(View):
    """Whether the Shoot shall sleep."""

    enabled: bool = False


class SshAccess(View):
    """Whether nodes run sshd; with false Gardener stops it, and hands no key out."""

    enabled: bool = True


class WorkersSettings(View):
    """What holds for all nodes."""

    ssh_access: SshAccess = Field(default_factory=SshAccess)


class Provider(View):
    """What the Shoot's machines are."""

    workers_settings: WorkersSettings = Field(default_factory=WorkersSettings)


class ShootSpec(View):
    """What is wanted of the Shoot."""

    hibernation: Hibernation = Field(default_factory=Hibernation)
    provider: Provider = Field(default_factory=Provider)


class ShootStatus(View):
    """How the Shoot is."""

    last_operation: LastOperation = Field(default_factory=LastOperation)
    is_hibernated: bool = False


class Shoot(View):
    """The Shoot, as far as an extension has to know it."""

    metadata: Metadata = Field(default_factory=Metadata)
    spec: ShootSpec = Field(default_factory=ShootSpec)
    status: ShootStatus = Field(default_factory=ShootStatus)

    @property
    def deleting(self) -> bool:
        """Whether its owner has asked for its deletion."""
        return bool(self.metadata.deletion_timestamp)

    @property
    def failed(self) -> bool:
        """Whether Gardener has given up on it until a person acts; extensions leave it alone then."""
        return self.status.last_operation.state == OperationState.FAILED

    @property
    def hibernating(self) -> bool:
        """Whether it sleeps or is about to: there may be no API server and no Node."""
        return self.spec.hibernation.enabled or self.status.is_hibernated

    @property
    def ssh_access(self) -> bool:
        """Whether its nodes may be reached by SSH."""
        return self.spec.provider.workers_settings.ssh_access.enabled

    @property
    def force_deletion(self) -> bool:
        """Whether its owner has confirmed that it is to be deleted without waiting for anybody."""
        return gardener.parse_bool(self.metadata.annotations.get(gardener.FORCE_DELETION, ""))


class ClusterSpec(View):
    """The parts of a Cluster that an extension for nodes looks at."""

    shoot: Shoot = Field(default_factory=Shoot)


class Cluster(KubernetesObject):
    """A view on a Cluster."""

    spec: ClusterSpec = Field(default_factory=ClusterSpec)

    @property
    def shoot(self) -> Shoot:
        """The Shoot; with nothing in it where the Cluster has none."""
        return self.spec.shoot


def essential(raw: RawObject) -> RawObject:
    """The object without what this product does not look at, above all the cloud profile, which is most of it.

    A seed has hundreds of them, each with a profile of some hundred kilobytes.
    """
    return pick(
        raw,
        "apiVersion",
        "kind",
        "metadata.name",
        "metadata.uid",
        "metadata.resourceVersion",
        "spec.shoot.metadata.name",
        "spec.shoot.metadata.namespace",
        "spec.shoot.metadata.deletionTimestamp",
        "spec.shoot.metadata.annotations",
        "spec.shoot.spec.hibernation",
        "spec.shoot.spec.provider.workersSettings.sshAccess",
        "spec.shoot.status.lastOperation",
        "spec.shoot.status.isHibernated",
    )
