"""A seed and a shoot of real parts for the cases; each case has a Shoot's namespace of its own.

Controllers run in the test's process where a case looks into them, and as ``gvisor-nodes controller`` where the process
is the matter. Either way they are a user who may in the seed what the chart allows, and no test passes in which that was
not enough. What is not built is an error with the command that builds it.
"""

from __future__ import annotations

import json
import secrets
import socket
import ssl
import threading
import urllib.request
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from chart import CONTROLLER, NAMESPACE, POOR, RELEASE, Rights, refused, seed_values
from landscape import Beacon, Running, Shoot, controller_process, with_options
from patience import eventually

from orchestrator.controller.definition import ensure_definition
from orchestrator.controller.kinds import CONTAINER_RUNTIMES
from orchestrator.kube import api_error
from orchestrator.kube.client import Client
from orchestrator.kube.credentials import from_file
from orchestrator.kube.resource import Resource
from orchestrator.lab.api_server import ApiServer
from orchestrator.lab.cluster import Cluster
from orchestrator.lab.helm import Helm

RESTRICTED = "a-token-of-a-controller"
VIEWER = "a-token-of-a-viewer"
ROLES = Resource("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", namespaced=False)
BINDINGS = Resource("rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", namespaced=False)
WEBHOOKS = Resource(
    "admissionregistration.k8s.io",
    "v1",
    "validatingwebhookconfigurations",
    "ValidatingWebhookConfiguration",
    namespaced=False,
)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """etcd, the API servers of seed and shoot, and what works on them."""
    tokens = {RESTRICTED: "restricted", VIEWER: "viewer", CONTROLLER: "controller", POOR: "poor"}
    with Cluster(tmp_path_factory.mktemp("contract"), tokens=tokens, audited=["controller", "poor"]) as running:
        yield running


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """An API server of one cluster without Gardener, which knows nothing of it."""
    with ApiServer(tmp_path_factory.mktemp("one-cluster")) as running:
        yield running


@pytest.fixture(scope="session")
def client(server):
    """The administrator there; the controller's own definition is in force."""
    with Client(from_file(server.kubeconfig_file)) as one:
        ensure_definition(one, threading.Event())
        yield one


@pytest.fixture(scope="session")
def helm(tmp_path_factory):
    """Renders the chart."""
    return Helm(tmp_path_factory.mktemp("helm"))


@pytest.fixture(scope="session")
def rights(cluster, seed, helm):
    """Every controller here is this user, who may what the chart rendered for a seed allows."""
    one = Rights(seed, helm.template(RELEASE, NAMESPACE, seed_values()), "controller", NAMESPACE)
    one.grant()
    return one


@pytest.fixture(scope="session")
def controllers_kubeconfig(cluster, rights, tmp_path_factory):
    """The file by which a controller is that user."""
    path = tmp_path_factory.mktemp("controller") / "kubeconfig"
    path.write_text(json.dumps(cluster.seed.kubeconfig(CONTROLLER)))
    return path


@pytest.fixture(autouse=True)
def nothing_is_forbidden(request):
    """Case 86 for every other case: the chart's rights were enough for it."""
    if "rights" not in request.fixturenames:
        yield
        return
    server = request.getfixturevalue("cluster").seed
    before = len(refused(server, "controller"))
    yield
    assert [] == refused(server, "controller")[before:], "the chart's roles do not allow it"


@pytest.fixture(scope="session")
def resource_manager(cluster):
    """Gardener's own, for every namespace."""
    with cluster.resource_manager() as running:
        yield running


@pytest.fixture(scope="session")
def seed(cluster):
    """The administrator of the seed."""
    with Client(from_file(cluster.seed.kubeconfig_file)) as client:
        yield client


@pytest.fixture(scope="session")
def target(cluster):
    """The administrator of the Shoot's own API server."""
    with Client(from_file(cluster.shoot.kubeconfig_file)) as client:
        yield client


@pytest.fixture
def make_shoot(cluster, seed, target, resource_manager):
    """Makes a Shoot's namespace; at the end of the case nothing of it is left."""
    made = []

    def make():
        shoot = Shoot(seed, target, f"shoot--t--{secrets.token_hex(3)}", cluster)
        made.append(shoot)
        return shoot

    yield make
    for shoot in made:
        shoot.ask_to_clear()
    for shoot in made:
        shoot.await_clear()


@pytest.fixture
def shoot(make_shoot):
    """NS and CL."""
    return make_shoot().prepare()


@pytest.fixture
def other_shoot(make_shoot):
    """Another one."""
    return make_shoot().prepare()


@pytest.fixture
def lonely_shoot(make_shoot):
    """NS without CL."""
    return make_shoot().prepare(with_cluster=False)


class _Controllers:
    """Starts controllers in this process, and counts what they were answered."""

    def __init__(self, kubeconfig):
        self._kubeconfig = kubeconfig
        self.answers = []

    def client(self):
        return Client(from_file(self._kubeconfig), observe=self.observe)

    def observe(self, verb, code):
        self.answers.append((verb, code))

    @contextmanager
    def __call__(self, options=None, *, client=None):
        with ExitStack() as stack:
            client = client or stack.enter_context(self.client())
            yield stack.enter_context(Running(client, options or with_options()))


@pytest.fixture
def controller(controllers_kubeconfig):
    """``with controller() as running``: a controller that leads while the block lasts."""
    return _Controllers(controllers_kubeconfig)


@pytest.fixture
def refusals(controller):
    """The requests of the controller that were answered with this code."""
    return lambda code: [answer for answer in controller.answers if answer[1] == code]


@pytest.fixture
def beacon():
    """``beacon(shoot, running)`` returns when everything that was written before has been looked at."""
    return lambda shoot, running: Beacon(shoot, running).pass_by()


@pytest.fixture
def stuck(resource_manager):
    """``with stuck()``: the resource manager does nothing while the block lasts."""
    return resource_manager.frozen


@pytest.fixture
def children():
    """The processes that this one has started and that have not ended."""

    def pids():
        return sorted(
            pid for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()
        )

    return pids


@pytest.fixture
def table(cluster, viewer):
    """Asks for a kind as kubectl does; returns the names of the columns that are shown, and the rows."""

    def ask(resource, namespace):
        context = ssl.create_default_context(cadata=cluster.seed.authority.decode())
        request = urllib.request.Request(  # noqa: S310 - https, to loopback
            f"{cluster.seed.url}{resource.path(namespace)}",
            headers={
                "Accept": "application/json;as=Table;g=meta.k8s.io;v=v1",
                "Authorization": f"Bearer {viewer}",
            },
        )
        with urllib.request.urlopen(request, timeout=30, context=context) as answer:  # noqa: S310
            content = json.load(answer)
        shown = [number for number, column in enumerate(content["columnDefinitions"]) if not column["priority"]]
        columns = [content["columnDefinitions"][number]["name"] for number in shown]
        return columns, [[row["cells"][number] for number in shown] for row in content["rows"]]

    return ask


@pytest.fixture
def viewer(cluster, seed, target):
    """The token of somebody who may read everything, in both API servers."""
    rules = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list", "watch"]}]
    for client in (seed, target):
        _grant(client, "viewer", rules)
    return VIEWER


def _grant(client, user, rules):
    role = {"apiVersion": ROLES.api_version, "kind": "ClusterRole", "metadata": {"name": user}, "rules": rules}
    try:
        client.create(ROLES, role)
    except api_error.AlreadyExistsError:
        client.patch(ROLES, user, {"rules": rules})
        return
    client.create(
        BINDINGS,
        {
            "apiVersion": BINDINGS.api_version,
            "kind": "ClusterRoleBinding",
            "metadata": {"name": user},
            "roleRef": {"apiGroup": ROLES.group, "kind": "ClusterRole", "name": user},
            "subjects": [{"apiGroup": ROLES.group, "kind": "User", "name": user}],
        },
    )


class _Restricted:
    """A controller's user with the rights that it needs, and without those on Secrets for a while."""

    RULES = (
        {"apiGroups": ["extensions.gardener.cloud"], "resources": ["*"], "verbs": ["get", "list", "watch", "patch"]},
        {"apiGroups": ["resources.gardener.cloud"], "resources": ["managedresources"], "verbs": ["*"]},
    )

    def __init__(self, admin, client):
        self._admin = admin
        self.client = client

    def allow_secrets(self):
        secrets_rule = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "create", "patch", "delete"]}
        _grant(self._admin, "restricted", [*self.RULES, secrets_rule])

    def forbid_secrets(self):
        _grant(self._admin, "restricted", list(self.RULES))


@pytest.fixture
def restricted(cluster, seed, tmp_path):
    """A controller's user whose rights can be taken away."""
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(cluster.seed.kubeconfig(RESTRICTED)))
    with Client(from_file(path)) as client:
        one = _Restricted(seed, client)
        one.allow_secrets()
        # RBAC follows its objects with a little delay.
        eventually(lambda: _may(client, CONTAINER_RUNTIMES))
        yield one


def _may(client, resource):
    try:
        next(client.pages(resource))
    except api_error.ForbiddenError:
        return False
    return True


class _InterruptedClient(Client):
    """Lets somebody else act between a read and a write, once."""

    def __init__(self, credentials, meanwhile):
        super().__init__(credentials)
        self._meanwhile = meanwhile

    def patch(self, resource, name, patch, namespace="", subresource=""):
        if "finalizers" in (patch.get("metadata") or {}) and self._meanwhile is not None:
            meanwhile, self._meanwhile = self._meanwhile, None
            meanwhile(patch)
        return super().patch(resource, name, patch, namespace, subresource)


@pytest.fixture
def interrupted_client(controllers_kubeconfig):
    """A client before whose first patch of finalizers this function is called."""
    with ExitStack() as stack:
        yield lambda meanwhile: stack.enter_context(_InterruptedClient(from_file(controllers_kubeconfig), meanwhile))


@pytest.fixture
def process(controllers_kubeconfig, rights, tmp_path):
    """``with process() as one``: ``gvisor-nodes controller`` runs while the block lasts; see ControllerProcess."""

    def start(**settings):
        for section in ("leaderElection", "heartbeat"):
            if namespace := settings.get(section, {}).get("namespace"):
                rights.grant_in(namespace)
        return controller_process(tmp_path, controllers_kubeconfig, settings)

    return start


@pytest.fixture
def delayed(seed):
    """``with delayed(resource, shoot)``: creations of a kind take seconds while the block lasts.

    A webhook is asked for each, and does not answer.
    """

    @contextmanager
    def delay(resource, shoot):
        name = f"delay-{secrets.token_hex(3)}"
        with socket.create_server(("127.0.0.1", 0)) as silent:
            rule = {
                "apiGroups": [resource.group],
                "apiVersions": [resource.version],
                "resources": [resource.plural],
                "operations": ["CREATE"],
            }
            webhook = {
                "name": "delay.example.com",
                "clientConfig": {"url": f"https://127.0.0.1:{silent.getsockname()[1]}/"},
                "rules": [rule],
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": shoot.namespace}},
                "failurePolicy": "Ignore",
                "timeoutSeconds": 10,
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
            }
            metadata = {"name": name}
            raw = {
                "apiVersion": WEBHOOKS.api_version,
                "kind": WEBHOOKS.kind,
                "metadata": metadata,
                "webhooks": [webhook],
            }
            seed.create(WEBHOOKS, raw)
            try:
                yield
            finally:
                seed.delete(WEBHOOKS, name)

    return delay
