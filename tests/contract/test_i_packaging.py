"""Cases 85 to 88: the chart by real Helm, its rights and its pods by real API servers, and its registration."""

from __future__ import annotations

import base64
import copy
import json
import secrets
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from chart import (
    CONTROLLER,
    GARDENLET,
    IMAGE,
    NAMESPACE,
    POOR,
    RELEASE,
    RESOURCES,
    Rights,
    allowed,
    one_of,
    refused,
    seed_values,
    standalone_values,
)
from gardener_objects import CONFIGURATION
from landscape import NAMESPACES, NODES, SMR, controller_process
from patience import eventually
from played_kubelet import PlayedKubelet

from orchestrator.controller.definition import DEFINITIONS
from orchestrator.controller.kinds import CONTAINER_RUNTIMES, RUNTIME_CLASSES, SERVICE_ACCOUNTS
from orchestrator.controller.settings import settings
from orchestrator.errors import GvisorNodesError
from orchestrator.kube import api_error
from orchestrator.kube.client import Client, Selection
from orchestrator.kube.credentials import from_file
from orchestrator.kube.resource import Resource
from orchestrator.kube.shoot_credentials import SECRETS
from orchestrator.lab import gardener
from orchestrator.lab.api_server import ApiServer
from orchestrator.lab.control_plane import BUILD
from orchestrator.lab.helm import CHART, Helm

ROOT = Path(__file__).parents[2]
EXTENSIONS = Resource("operator.gardener.cloud", "v1alpha1", "extensions", "Extension", namespaced=False)
PODS = Resource("", "v1", "pods", "Pod")
PRIORITY_CLASSES = Resource("scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", namespaced=False)
CONTAINER_RUNTIMES_NAME = "containerruntimes.extensions.gardener.cloud"
PORTS = {"metrics", "health"}
SETS = {"gardener": seed_values(), "standalone": standalone_values()}
GARDEN = {"gardener": {"runtimeCluster": {"enabled": True, "priorityClassName": "gardener-garden-system-200"}}}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """An API server of a cluster without Gardener; it knows the kinds of the chart that are not Kubernetes' own."""
    directory = tmp_path_factory.mktemp("packaging")
    with ApiServer(directory, {CONTROLLER: "controller"}, audited=["controller"]) as running:
        yield running


@pytest.fixture(scope="module")
def admin(server):
    with Client(from_file(server.kubeconfig_file)) as client:
        definitions = gardener.packaging_definitions().find(BUILD)
        for name in gardener.PACKAGING_DEFINITIONS:
            client.create(DEFINITIONS, yaml.safe_load((definitions / name).read_text()))
        for resource in (EXTENSIONS, RESOURCES["VerticalPodAutoscaler"]):
            eventually(lambda resource=resource: is_served(client, resource))
        yield client


def is_served(client, resource):
    try:
        next(client.pages(resource))
    except api_error.AbsentError:
        return False
    return True


@pytest.fixture(scope="module")
def installer(server, tmp_path_factory):
    """Helm on that cluster."""
    return Helm(tmp_path_factory.mktemp("installer"), server.kubeconfig_file)


def container(objects):
    [found] = one_of(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    return found


def controllers_file(objects):
    return one_of(objects, "ConfigMap")["data"]["controller.yaml"]


def test_case_85_the_chart_takes_the_values_of_gardenlet(helm):
    objects = helm.template(RELEASE, NAMESPACE, seed_values())
    deployment = one_of(objects, "Deployment", name=RELEASE, namespace=NAMESPACE)
    template = deployment["spec"]["template"]

    assert "controller" == deployment["metadata"]["labels"]["high-availability-config.resources.gardener.cloud/type"]
    assert "replicas" not in deployment["spec"]
    assert {name for name, value in template["metadata"]["labels"].items() if value == "allowed"} == {
        "networking.gardener.cloud/to-dns",
        "networking.gardener.cloud/to-runtime-apiserver",
        "networking.resources.gardener.cloud/to-all-shoots-kube-apiserver-tcp-443",
    }
    assert "gardener-system-900" == template["spec"]["priorityClassName"]
    assert f"--heartbeat-namespace={NAMESPACE}" in container(objects)["args"]
    assert "--gardener-version=v1.149.3" in container(objects)["args"]
    assert {
        "name": "LEADER_ELECTION_NAMESPACE",
        "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}},
    } in container(objects)["env"]
    annotations = one_of(objects, "Service")["metadata"]["annotations"]
    ports = "networking.resources.gardener.cloud/from-all-seed-scrape-targets-allowed-ports"
    assert [{"port": 8080, "protocol": "TCP"}] == json.loads(annotations[ports])


@pytest.mark.parametrize(
    "values",
    [
        {"gardener": {key: value for key, value in GARDENLET["gardener"].items() if key != "seed"}},
        {
            "gardener": {"version": "v1.149.3", "selfHostedShootCluster": True, "shoot": {"name": "root"}},
            "usablePorts": [1],
        },
        {"gardener": {}},
        GARDEN,
    ],
    ids=["no seed", "self-hosted", "nothing", "garden"],
)
def test_case_85_the_chart_is_rendered_where_gardenlet_tells_less(helm, values):
    objects = helm.template(RELEASE, NAMESPACE, {"image": IMAGE, **values})

    assert container(objects)["args"][:2] == ["controller", "--config=/etc/gvisor-nodes/controller.yaml"]


def test_case_85_in_a_gardens_runtime_cluster_it_has_the_class_and_priority_of_that(helm):
    objects = helm.template(RELEASE, NAMESPACE, {"image": IMAGE, **GARDEN})

    pod = one_of(objects, "Deployment")["spec"]["template"]["spec"]
    assert "gardener-garden-system-200" == pod["priorityClassName"]
    assert ("garden",) == settings(controllers_file(objects), {}, {}).extension_classes


def test_case_85_the_names_of_upstreams_values_are_taken_and_win(helm):
    values = seed_values(
        config={"concurrentReconciles": 3, "heartbeat": {"renewIntervalSeconds": 10}, "gvisor": {"strict": True}},
        controllers={
            "concurrentSyncs": 7,
            "ignoreOperationAnnotation": True,
            "heartbeat": {"renewIntervalSeconds": 20},
        },
        metrics={"enableScraping": False, "port": 9090},
        resources={"requests": {"memory": "1Gi"}},
        vpa={"resourcePolicy": {"minAllowed": {"memory": "77Mi"}}, "updatePolicy": {"updateMode": "Off"}},
    )
    objects = helm.template(RELEASE, NAMESPACE, values)
    told = settings(controllers_file(objects), {}, {})

    assert (7, True, 20) == (
        told.concurrent_reconciles,
        told.ignore_operation_annotation,
        told.heartbeat.renew_interval_seconds,
    )
    assert (":9090", True) == (told.metrics.bind_address, told.gvisor.strict)
    assert "prometheus.io/scrape" not in one_of(objects, "Deployment")["spec"]["template"]["metadata"]["annotations"]
    assert "annotations" not in one_of(objects, "Service")["metadata"]
    assert "1Gi" == container(objects)["resources"]["requests"]["memory"]
    autoscaler = one_of(objects, "VerticalPodAutoscaler")["spec"]
    assert "Off" == autoscaler["updatePolicy"]["updateMode"]
    assert {"memory": "77Mi"} == autoscaler["resourcePolicy"]["containerPolicies"][0]["minAllowed"]


@pytest.mark.parametrize("values", SETS.values(), ids=SETS)
def test_the_controller_takes_the_file_that_the_chart_writes(helm, values):
    told = settings(
        controllers_file(helm.template(RELEASE, NAMESPACE, values)), {}, {"LEADER_ELECTION_NAMESPACE": NAMESPACE}
    )

    assert values.get("mode", "gardener") == told.mode
    assert NAMESPACE == told.leader_election.namespace


def test_a_changed_setting_is_a_changed_pod(helm):
    def checksum(**changes):
        objects = helm.template(RELEASE, NAMESPACE, seed_values(**changes))
        return one_of(objects, "Deployment")["spec"]["template"]["metadata"]["annotations"]["checksum/config"]

    assert checksum() == checksum()
    assert checksum() != checksum(config={"log": {"level": "debug"}})


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"image": {}}, "image.repository"),
        (seed_values(imageVectorOverwrite="x"), "imageVectorOverwrite"),
        (seed_values(mode="other"), "mode"),
        (seed_values(config={"gvisor": {"release": 20260209.1}}), "release"),
        (seed_values(config={"gvisor": {"strictt": True}}), "strictt"),
        (seed_values(config={"kubeconfig": "/x"}), "kubeconfig"),
    ],
    ids=["no image", "unknown", "mode", "type", "unknown setting", "decided by the chart"],
)
def test_what_cannot_be_right_is_refused_by_its_name(helm, values, named):
    with pytest.raises(GvisorNodesError, match=named):
        helm.template(RELEASE, NAMESPACE, values)


@pytest.mark.parametrize("values", SETS.values(), ids=SETS)
def test_helm_finds_nothing_to_object_to(helm, values):
    assert "0 chart(s) failed" in helm.lint(values)


def test_case_86_a_whole_life_needs_the_charts_rights_and_no_other(shoot, process, rights, seed, cluster):
    leases = {"heartbeat": {"namespace": shoot.namespace, "renewIntervalSeconds": 1}}
    elected = {"leaderElection": {"enabled": True, "namespace": shoot.namespace}}

    def asked():
        return allowed(cluster.seed, "controller")

    with process(**leases, **elected) as one:
        one.await_ready()
        unknown = {"providerConfig": {**CONFIGURATION, "configFlags": {"unknown": "x"}}}
        shoot.deploy("a", spec=unknown)  # told by an event
        shoot.await_healthy("a")
        secret = shoot.secret_of(SMR)["metadata"]["name"]
        seed.patch(SECRETS, secret, {"metadata": {"labels": None}}, shoot.namespace)
        shoot.ask(
            "a", spec={"providerConfig": {"configFlags": {"unknown": None, "debug": "true"}}}
        )  # the label comes back
        eventually(lambda: shoot.secret(secret)["metadata"].get("labels"), what=lambda: shoot.secret(secret))
        eventually(lambda: "debug" in "".join(shoot.settings("a")), what=lambda: shoot.settings("a"))
        shoot.await_ready("a")
        shoot.ask("a", spec={"providerConfig": {"configFlags": {"unknown": "x", "debug": None}}})  # and the event
        eventually(lambda: ("patch", "", "events") in asked(), what=lambda: one.text)
        shoot.deploy("b", operation="restore")
        shoot.await_ready("b")
        shoot.ask("b", "migrate")
        eventually(lambda: "Migrate" == shoot.get("b")["status"]["lastOperation"]["type"], what=lambda: shoot.get("b"))
        shoot.delete("a")
        shoot.await_gone("a")
        assert 0 == one.end(), one.text

    assert [] == refused(cluster.seed, "controller")
    assert set() == rights.unused(asked())


@pytest.mark.parametrize("missing", ["events", "containerruntimes/status", "secrets"])
def test_case_86_a_right_that_is_missing_is_noticed(shoot, cluster, seed, helm, tmp_path, missing):
    objects = helm.template(RELEASE, NAMESPACE, seed_values())
    [rule] = [rule for rule in one_of(objects, "ClusterRole")["rules"] if missing in rule["resources"]]
    Rights(seed, objects, "poor", NAMESPACE).grant(without=rule)
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(json.dumps(cluster.seed.kubeconfig(POOR)))
    before = len(refused(cluster.seed, "poor"))
    with controller_process(tmp_path, kubeconfig, {}) as one:
        one.await_ready()
        shoot.deploy(spec={"providerConfig": {**CONFIGURATION, "configFlags": {"unknown": "x"}}})
        told = eventually(lambda: refused(cluster.seed, "poor")[before:], what=lambda: one.text)

    assert all(missing in request for request in told)


def test_secrets_are_listed_only_where_nodes_of_shoots_are_reached_by_ssh(helm):
    def verbs(**nodes):
        objects = helm.template(RELEASE, NAMESPACE, seed_values(config={"nodes": nodes}))
        [rule] = [rule for rule in one_of(objects, "ClusterRole")["rules"] if "secrets" in rule["resources"]]
        return set(rule["verbs"])

    assert {"list"} == verbs(executor="ssh") - verbs()


def test_without_gardener_one_secret_is_read_where_its_key_opens_nodes(helm):
    def rules(**nodes):
        objects = helm.template(RELEASE, NAMESPACE, standalone_values(config={"nodes": nodes}))
        return [rule for rule in one_of(objects, "ClusterRole")["rules"] if "secrets" in rule["resources"]]

    [rule] = rules(executor="ssh", ssh={"keySecret": "machines/key"})
    assert (["key"], ["get"]) == (rule["resourceNames"], rule["verbs"])
    assert [] == rules(executor="ssh", ssh={"keyFile": "/key"})
    assert [] == rules()


@pytest.fixture
def standalone_kubeconfig(server, tmp_path):
    """The file by which a controller is a user without rights of its own."""
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(server.kubeconfig(CONTROLLER)))
    return path


def test_case_86_a_whole_life_needs_the_rights_and_no_other_without_gardener(
    admin, server, standalone_kubeconfig, helm, tmp_path
):
    release, namespace = "gvisor-nodes", f"test-{secrets.token_hex(3)}"
    admin.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    objects = helm.template(release, namespace, standalone_values())
    rights = Rights(admin, objects, "controller", namespace)
    rights.grant()
    rights.grant_in(namespace)
    told = {key: value for key, value in yaml.safe_load(controllers_file(objects)).items() if key not in PORTS}
    values = {**told, "leaderElection": {"enabled": True, "namespace": namespace}}
    pool = yaml.safe_load((ROOT / "examples" / "standalone.yaml").read_text())
    pool["metadata"]["namespace"] = namespace
    name = pool["metadata"]["name"]

    def is_delivered():
        found = admin.get(CONTAINER_RUNTIMES, name, namespace)
        status = found.get("status", {})
        current = status.get("observedGeneration") == found["metadata"]["generation"]
        return current and status["lastOperation"]["state"] == "Succeeded"

    def change(**flags):
        patch = {"spec": {"providerConfig": {"configFlags": flags}}}
        admin.patch(CONTAINER_RUNTIMES, name, patch, namespace)
        eventually(is_delivered, what=lambda: one.text)

    def is_well():
        conditions = admin.get(CONTAINER_RUNTIMES, name, namespace)["status"].get("conditions", ())
        return any(one["type"] == "GVisorNodesReady" and "1 of 1" in one["message"] for one in conditions)

    with PlayedKubelet(admin) as kubelet:
        with controller_process(tmp_path, standalone_kubeconfig, values) as one:
            one.await_ready()
            node = node_of(admin, pool)
            admin.create(CONTAINER_RUNTIMES, pool)
            eventually(is_delivered, what=lambda: one.text)
            kubelet.ends(node)
            eventually(is_well, what=lambda: one.text)
            change(unknown="x")  # told by an event, as often as it comes
            change(unknown=None)
            change(unknown="x")
            eventually(lambda: ("patch", "", "events") in allowed(server, "controller"), what=lambda: one.text)
            assert 0 == one.end(), one.text
        # Somebody has changed what is brought, which the next one puts right.
        wish = f"gvisor-nodes-{pool['spec']['workerPool']['name']}"
        admin.patch(DEFINITIONS, CONTAINER_RUNTIMES_NAME, {"spec": {"names": {"shortNames": ["old"]}}})
        admin.patch(RUNTIME_CLASSES, "gvisor", {"scheduling": None})
        admin.patch(SERVICE_ACCOUNTS, wish, {"automountServiceAccountToken": True}, "kube-system")
        with controller_process(tmp_path, standalone_kubeconfig, values) as one:
            one.await_ready()
            change(debug="true")
            kubelet.ends(node)
            eventually(is_well, what=lambda: one.text)
            admin.delete(CONTAINER_RUNTIMES, name, namespace)
            kubelet.ends(node)
            eventually(lambda: admin.find(CONTAINER_RUNTIMES, name, namespace) is None, what=lambda: one.text)
            assert admin.find(RUNTIME_CLASSES, "gvisor") is None
            assert 0 == one.end(), one.text

    assert [] == refused(server, "controller")
    # A Job is asked for by its name only where a pass is faster than the watch.
    assert rights.unused(allowed(server, "controller")) <= {("get", "batch", "jobs"), ("get", "", "nodes")}


def node_of(client, pool):
    """A node of a pool; returns its name."""
    name = f"node-{secrets.token_hex(3)}"
    labels = pool["spec"]["workerPool"]["selector"]["matchLabels"]
    client.create(NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}})
    conditions = [{"type": "Ready", "status": "True"}]
    status = {"conditions": conditions, "nodeInfo": {"containerRuntimeVersion": "containerd://2.4.2"}}
    client.patch(NODES, name, {"status": status}, "", "status")
    return name


@pytest.fixture(scope="module")
def seeds_priorities(admin):
    """The priority classes that a seed and a garden have."""
    for name in ("gardener-system-900", "gardener-garden-system-200"):
        metadata = {"name": name}
        raw = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": metadata, "value": 1}
        admin.create(PRIORITY_CLASSES, raw)


@pytest.fixture
def enforcing(admin):
    """Makes a namespace that enforces a level of PodSecurity; returns its name."""

    def make(level):
        name = f"pods-{secrets.token_hex(3)}"
        labels = {"pod-security.kubernetes.io/enforce": level, "pod-security.kubernetes.io/enforce-version": "latest"}
        admin.create(
            NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
        )
        return name

    return make


def pod_of(objects, namespace):
    template = one_of(objects, "Deployment")["spec"]["template"]
    metadata = {**template["metadata"], "name": "controller", "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": copy.deepcopy(template["spec"])}


@pytest.mark.parametrize("level", ["baseline", "restricted"])
@pytest.mark.parametrize("values", [*SETS.values(), {"image": IMAGE, **GARDEN}], ids=[*SETS, "garden"])
def test_case_87_the_pod_fits_podsecurity(admin, helm, seeds_priorities, enforcing, level, values):
    namespace = enforcing(level)

    made = admin.create(PODS, pod_of(helm.template(RELEASE, NAMESPACE, values), namespace))

    assert namespace == made["metadata"]["namespace"]


def test_case_87_a_pod_with_more_would_not_fit(admin, helm, seeds_priorities, enforcing):
    pod = pod_of(helm.template(RELEASE, NAMESPACE, seed_values()), enforcing("baseline"))
    pod["spec"]["hostPID"] = True

    with pytest.raises(api_error.ForbiddenError, match="PodSecurity"):
        admin.create(PODS, pod)


def test_the_token_is_mounted_by_gardener_in_a_seed_and_by_the_chart_elsewhere(helm):
    for values, mounted in ((SETS["gardener"], []), (SETS["standalone"], ["kube-api-access"])):
        objects = helm.template(RELEASE, NAMESPACE, values)
        pod = one_of(objects, "Deployment")["spec"]["template"]["spec"]

        # The webhook wants false in the ServiceAccount, and nothing in the pod.
        assert one_of(objects, "ServiceAccount")["automountServiceAccountToken"] is False
        assert "automountServiceAccountToken" not in pod
        assert mounted == [one["name"] for one in pod["volumes"] if "projected" in one]


def test_case_88_the_operators_extension_is_accepted_by_its_definition(admin):
    extension = yaml.safe_load((ROOT / "examples" / "extension.yaml").read_text())
    made = admin.create(EXTENSIONS, extension)
    admin.delete(EXTENSIONS, made["metadata"]["name"])

    # What the definition does not know would be gone.
    assert extension["spec"] == overlap(extension["spec"], made["spec"])
    assert "primary" not in extension["spec"]["resources"][0]


def overlap(wanted, there):
    """The part of an object that is wanted too: defaults are left out."""
    if isinstance(wanted, dict):
        return {key: overlap(value, there[key]) for key, value in wanted.items() if key in there}
    if isinstance(wanted, list):
        return [overlap(*pair) for pair in zip(wanted, there, strict=True)]
    return there


def test_case_88_extension_deployment_and_registration_go_together():
    extension = yaml.safe_load((ROOT / "examples" / "extension.yaml").read_text())
    deployment, registration = yaml.safe_load_all((ROOT / "examples" / "controller-registration.yaml").read_text())

    assert ("operator.gardener.cloud/v1alpha1", "Extension") == kind(extension)
    assert ("core.gardener.cloud/v1", "ControllerDeployment") == kind(deployment)
    assert ("core.gardener.cloud/v1beta1", "ControllerRegistration") == kind(registration)
    assert {RELEASE} == {one["metadata"]["name"] for one in (extension, deployment, registration)}
    assert [{"name": RELEASE}] == registration["spec"]["deployment"]["deploymentRefs"]
    for one in (extension, registration):
        assert "baseline" == one["metadata"]["annotations"]["security.gardener.cloud/pod-security-enforce"]
        assert [{"kind": "ContainerRuntime", "type": "gvisor"}] == one["spec"]["resources"]
    ours = extension["spec"]["deployment"]["extension"]
    assert ours["helm"]["ociRepository"] == deployment["helm"]["ociRepository"]
    assert ours["values"] == deployment["helm"]["values"]


def kind(raw):
    return raw["apiVersion"], raw["kind"]


@pytest.fixture(scope="module")
def packaged(tmp_path_factory):
    """The directory with what `make chart` writes."""
    directory = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, ROOT / "scripts" / "package-chart", directory], check=True, capture_output=True)
    return directory


def test_case_88_the_packaged_chart_is_in_the_registration_and_says_the_same(helm, packaged, tmp_path):
    deployment, registration = yaml.safe_load_all((packaged / "controller-registration.yaml").read_text())
    _, example = yaml.safe_load_all((ROOT / "examples" / "controller-registration.yaml").read_text())
    chart = tmp_path / "chart.tgz"
    chart.write_bytes(base64.b64decode(deployment["helm"]["rawChart"], validate=True))

    assert example == registration
    assert {"rawChart", "values"} == set(deployment["helm"])
    assert [chart.read_bytes()] == [one.read_bytes() for one in packaged.glob("*.tgz")]
    values = {**GARDENLET, **deployment["helm"]["values"]}
    assert helm.template(RELEASE, NAMESPACE, values) == helm.template(RELEASE, NAMESPACE, values, chart=chart)


def test_the_chart_is_of_the_version_of_the_command():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    project = (ROOT / "pyproject.toml").read_text()

    assert f'version = "{chart["appVersion"]}"' in project


def everything(client):
    """The names of all objects of the chart's kinds, by kind."""
    return {
        name: {
            (raw["metadata"].get("namespace", ""), raw["metadata"]["name"])
            for page in client.pages(resource, Selection())
            for raw in page.items
        }
        for name, resource in RESOURCES.items()
    }


@pytest.mark.parametrize("values", SETS.values(), ids=SETS)
def test_a_release_is_installed_changed_and_taken_away_without_a_trace(admin, installer, helm, values):
    namespace = f"release-{secrets.token_hex(3)}"
    admin.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    before = everything(admin)
    notes = installer.install(RELEASE, namespace, values)
    installer.install(RELEASE, namespace, {**values, "config": {"log": {"level": "debug"}}})
    there = everything(admin)
    rendered = helm.template(RELEASE, namespace, values, api_versions=["autoscaling.k8s.io/v1/VerticalPodAutoscaler"])
    installer.uninstall(RELEASE, namespace)

    assert "rollout status" in notes
    wanted = {(one["kind"], one["metadata"].get("namespace", ""), one["metadata"]["name"]) for one in rendered}
    assert wanted == {(name, *one) for name in there for one in there[name] - before[name] if name != "Secret"}
    assert before == everything(admin)
