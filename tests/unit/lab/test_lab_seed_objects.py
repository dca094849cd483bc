from orchestrator.api.cluster import Cluster
from orchestrator.kube.credentials import from_secret
from orchestrator.lab.seed_objects import shoot_objects

KUBECONFIG = {
    "apiVersion": "v1",
    "kind": "Config",
    "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
    "users": [{"name": "u", "user": {"token": "t"}}],
    "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
    "current-context": "x",
}


def test_a_shoot_is_what_the_product_reads_in_a_seed():
    (_, namespace), (_, cluster), (_, secret) = shoot_objects("shoot--foo--bar", KUBECONFIG, "1.37.2")

    assert namespace["metadata"] == {"name": "shoot--foo--bar", "labels": {"gardener.cloud/role": "shoot"}}
    shoot = Cluster.read(cluster).shoot
    assert (shoot.deleting, shoot.failed, shoot.hibernating) == (False, False, False)
    assert cluster["spec"]["shoot"]["metadata"] == {"name": "bar", "namespace": "garden-foo"}
    assert secret["metadata"]["namespace"] == "shoot--foo--bar"
    assert from_secret(secret).server == "https://127.0.0.1:1"
