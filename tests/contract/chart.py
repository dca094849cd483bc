"""The chart as real Helm renders it, and a user with exactly the rights that it gives to its ServiceAccount."""

from __future__ import annotations

from patience import eventually

from orchestrator.kube import api_error
from orchestrator.kube.resource import Resource

CONTROLLER = "the-token-of-the-controller"
POOR = "a-token-of-a-controller-with-too-few-rights"
RELEASE = "runtime-gvisor"
NAMESPACE = "extension-runtime-gvisor-x"
IMAGE = {"repository": "registry.example.com/gvisor-nodes"}
# What gardenlet puts at the root of the values. Source: gardener/gardener v1.149.3,
# pkg/gardenlet/controller/controllerinstallation/controllerinstallation/reconciler.go.
GARDENLET = {
    "gardener": {
        "version": "v1.149.3",
        "garden": {"clusterIdentity": "garden-identity", "genericKubeconfigSecretName": "generic-garden-kubeconfig"},
        "gardenlet": {"featureGates": {"IPv6SingleStack": False}},
        "seed": {
            "name": "local",
            "clusterIdentity": "local-identity",
            "annotations": {},
            "labels": {"name": "local"},
            "provider": "local",
            "region": "local",
            "volumeProvider": "",
            "volumeProviders": [],
            "protected": False,
            "visible": True,
            "taints": [],
            "networks": {"pods": "10.1.0.0/16", "services": "10.2.0.0/16", "ipFamilies": ["IPv4"]},
            "blockCIDRs": [],
            "spec": {"provider": {"type": "local", "region": "local"}},
            "ingressDomain": "ingress.local.example.com",
        },
    }
}
RBAC = "rbac.authorization.k8s.io"
RESOURCES = {
    one.kind: one
    for one in (
        Resource(RBAC, "v1", "clusterroles", "ClusterRole", namespaced=False),
        Resource(RBAC, "v1", "clusterrolebindings", "ClusterRoleBinding", namespaced=False),
        Resource(RBAC, "v1", "roles", "Role"),
        Resource(RBAC, "v1", "rolebindings", "RoleBinding"),
        Resource("", "v1", "configmaps", "ConfigMap"),
        Resource("", "v1", "secrets", "Secret"),
        Resource("", "v1", "serviceaccounts", "ServiceAccount"),
        Resource("", "v1", "services", "Service"),
        Resource("apps", "v1", "deployments", "Deployment"),
        Resource("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget"),
        Resource("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy"),
        Resource("autoscaling.k8s.io", "v1", "verticalpodautoscalers", "VerticalPodAutoscaler"),
    )
}
"""The kinds that the chart has, by their names."""

REVIEWS = Resource("authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview", namespaced=False)


def seed_values(**changes):
    """What gardenlet renders the chart with, and an image."""
    return {"image": IMAGE, **GARDENLET, **changes}


def standalone_values(**changes):
    """What somebody sets who has no Gardener."""
    return {"mode": "standalone", "image": IMAGE, **changes}


def one_of(objects, kind, **metadata):
    """The one object of a kind, with these parts of its metadata."""
    [found] = [
        one
        for one in objects
        if one["kind"] == kind and all(one["metadata"].get(key) == value for key, value in metadata.items())
    ]
    return found


class Rights:
    """What the rendered roles allow, bound to a user instead of the ServiceAccount.

    Args:
        client: the administrator's.
        objects: the rendered chart.
        user: who gets them.
        release: the namespace of the release; what holds there can be granted in others too.
    """

    def __init__(self, client, objects, user, release):
        self._client = client
        self._user = user
        self._release = release
        self._of = {kind: [one for one in objects if one["kind"] == kind] for kind in ("ClusterRole", "Role")}
        self._granted = set()

    def grant(self, without=None):
        """Grant what holds in the whole cluster, and in namespaces of fixed names; less one rule, if need be."""
        for role in self._of["ClusterRole"]:
            self._write(role, "", without)
        for role in self._of["Role"]:
            if role["metadata"]["namespace"] != self._release:
                self._write(role, role["metadata"]["namespace"], without)

    def grant_in(self, namespace):
        """Grant what holds in the release's namespace in this one."""
        if namespace not in self._granted:
            self._granted.add(namespace)
            for role in self._of["Role"]:
                if role["metadata"]["namespace"] == self._release:
                    self._write(role, namespace, None)

    def unused(self, requests):
        """What is allowed and was not asked for, as verb, group and resource; ``requests`` as of :func:`allowed`."""
        rules = [rule for roles in self._of.values() for role in roles for rule in role["rules"]]
        return {
            (verb, group, resource)
            for rule in rules
            for verb in rule["verbs"]
            for group in rule["apiGroups"]
            for resource in rule["resources"]
        } - requests

    def _write(self, role, namespace, without):
        name = f"{role['metadata']['name']}:{self._user}"
        place = {"namespace": namespace} if namespace else {}
        rules = [rule for rule in role["rules"] if rule != without]
        self._apply({**role, "metadata": {"name": name, **place}, "rules": rules})
        last = rules[-1]
        self._apply(
            {
                "apiVersion": f"{RBAC}/v1",
                "kind": f"{role['kind']}Binding",
                "metadata": {"name": name, **place},
                "roleRef": {"apiGroup": RBAC, "kind": role["kind"], "name": name},
                "subjects": [{"apiGroup": RBAC, "kind": "User", "name": self._user}],
            }
        )
        # The API server follows roles with a little delay.
        eventually(lambda: self._may(last, namespace))
        eventually(lambda: without is None or not self._may(without, namespace))

    def _may(self, rule, namespace):
        asked = {
            "namespace": namespace,
            "verb": rule["verbs"][0],
            "group": rule["apiGroups"][0],
            "resource": rule["resources"][0].partition("/")[0],
            "subresource": rule["resources"][0].partition("/")[2],
            "name": rule.get("resourceNames", [""])[0],
        }
        review = {
            "apiVersion": REVIEWS.api_version,
            "kind": REVIEWS.kind,
            "metadata": {"name": ""},
            "spec": {"user": self._user, "resourceAttributes": asked},
        }
        return self._client.create(REVIEWS, review)["status"]["allowed"]

    def _apply(self, raw):
        resource = RESOURCES[raw["kind"]]
        metadata = raw["metadata"]
        try:
            self._client.create(resource, raw)
        except api_error.AlreadyExistsError:
            patch = {key: raw[key] for key in ("rules", "subjects") if key in raw}
            self._client.patch(resource, metadata["name"], patch, metadata.get("namespace", ""))


def refused(server, user):
    """What a user asked an API server and was not allowed, as texts."""
    return [told(one) for one in server.requests('"code":403') if one["user"]["username"] == user]


def allowed(server, user):
    """What a user asked an API server and was allowed: verb, group, resource with subresource."""
    return {
        (one["verb"], one["objectRef"].get("apiGroup", ""), _resource(one["objectRef"]))
        for one in server.requests()
        if one["user"]["username"] == user and _code(one) != 403 and "objectRef" in one
    }


def told(event):
    """One request, for people."""
    of = event.get("objectRef", {})
    return f"{event['verb']} {_resource(of)} {of.get('namespace', '')}/{of.get('name', '')}"


def _resource(of):
    return "/".join(filter(None, (of.get("resource", ""), of.get("subresource", ""))))


def _code(event):
    return event.get("responseStatus", {}).get("code", 0)
