import base64
import json

import pytest

from orchestrator.errors import InvalidInputError, NotReadyError
from orchestrator.kube.credentials import default, from_file, from_secret, in_cluster


def encoded(text):
    return base64.b64encode(text.encode()).decode()


def kubeconfig(cluster=None, user=None, context=None):
    return {
        "clusters": [{"name": "c", "cluster": {"server": "https://api.example/", **(cluster or {})}}],
        "users": [{"name": "u", "user": {"token": "t"} if user is None else user}],
        "contexts": [
            {"name": "x", "context": {"cluster": "c", "user": "u", **(context or {})}},
            {"name": "y", "context": {"cluster": "nowhere", "user": "u"}},
        ],
        "current-context": "x",
    }


def secret(document, key="kubeconfig"):
    text = document if isinstance(document, str) else json.dumps(document)
    return {"metadata": {"namespace": "shoot--a--b", "name": "gardener"}, "data": {key: encoded(text)}}


def written(tmp_path, document):
    path = tmp_path / "config"
    path.write_text(json.dumps(document))
    return path


def test_a_kubeconfig_in_a_secret_says_where_and_as_whom():
    found = from_secret(secret(kubeconfig({"certificate-authority-data": encoded("CA")}, context={"namespace": "n"})))

    assert (found.server, found.authority, found.namespace) == ("https://api.example", b"CA", "n")
    assert found.token.read() == "t"


def test_a_client_certificate_needs_no_token():
    user = {"client-certificate-data": encoded("CERT"), "client-key-data": encoded("KEY")}

    found = from_secret(secret(kubeconfig(user=user)))

    assert (found.certificate, found.key, found.token) == (b"CERT", b"KEY", None)


def test_no_secret_is_shown_with_the_credentials():
    user = {"token": "sesame", "client-certificate-data": encoded("CERT"), "client-key-data": encoded("sesame")}

    assert "sesame" not in repr(from_secret(secret(kubeconfig(user=user))))


@pytest.mark.parametrize("user", [{"token": ""}, {}])
def test_a_kubeconfig_whose_token_is_not_there_yet_is_not_ready(user):
    with pytest.raises(NotReadyError, match="no token yet"):
        from_secret(secret(kubeconfig(user=user)))


@pytest.mark.parametrize("raw", [{}, {"data": None}, {"data": {"other": "eA=="}}, {"data": {"kubeconfig": ""}}])
def test_a_secret_without_kubeconfig_is_not_ready(raw):
    with pytest.raises(NotReadyError, match="no kubeconfig yet"):
        from_secret(raw)


@pytest.mark.parametrize(
    ("cluster", "user"),
    [
        ({"certificate-authority": "/etc/passwd"}, None),
        ({}, {"tokenFile": "/etc/passwd"}),
        ({}, {"client-certificate": "/etc/passwd", "client-key": "/etc/passwd"}),
        ({}, {"exec": {"command": "sh"}}),
    ],
)
def test_a_kubeconfig_from_a_cluster_reads_no_file_and_runs_no_program(cluster, user):
    with pytest.raises(InvalidInputError):
        from_secret(secret(kubeconfig(cluster, user)))


@pytest.mark.parametrize(
    ("cluster", "user"),
    [
        ({"server": "http://api.example"}, None),
        ({"server": ""}, None),
        ({"insecure-skip-tls-verify": True}, None),
        ({"certificate-authority-data": "no base64!"}, None),
        ({}, {"username": "a", "password": "b"}),
        ({}, {"auth-provider": {"name": "gcp"}}),
        ({}, {"client-certificate-data": encoded("CERT")}),
    ],
)
def test_what_is_not_safe_or_not_whole_is_refused(cluster, user):
    with pytest.raises(InvalidInputError):
        from_secret(secret(kubeconfig(cluster, user)))


@pytest.mark.parametrize("text", ["[", "a: b: sesame", "- 1", "\x00", "{current-context: x}", "{}"])
def test_what_is_no_kubeconfig_is_refused_and_not_quoted(text):
    with pytest.raises(InvalidInputError) as caught:
        from_secret(secret(text))

    assert "sesame" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_files_that_a_kubeconfig_file_names_lie_beside_it(tmp_path):
    (tmp_path / "ca.crt").write_text("CA")
    (tmp_path / "token").write_text("from-the-file")
    path = written(tmp_path, kubeconfig({"certificate-authority": "ca.crt"}, {"tokenFile": "token"}))

    found = from_file(path)

    assert (found.authority, found.token.read()) == (b"CA", "from-the-file")


def test_another_context_can_be_asked_for(tmp_path):
    path = written(tmp_path, kubeconfig())

    with pytest.raises(InvalidInputError, match="nowhere"):
        from_file(path, "y")
    with pytest.raises(InvalidInputError, match="'z'"):
        from_file(path, "z")


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(InvalidInputError, match="config cannot be read"):
        from_file(tmp_path / "config")


@pytest.fixture
def service_account(tmp_path):
    (tmp_path / "token").write_text("one")
    (tmp_path / "ca.crt").write_text("CA")
    (tmp_path / "namespace").write_text("extension-a\n")
    return tmp_path


@pytest.mark.parametrize(
    ("host", "server"), [("10.0.0.1", "https://10.0.0.1:443"), ("fd00::1", "https://[fd00::1]:443")]
)
def test_a_pod_uses_its_service_account(service_account, host, server):
    found = in_cluster({"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": "443"}, service_account)

    assert (found.server, found.authority, found.namespace) == (server, b"CA", "extension-a")
    assert found.token.read() == "one"


def test_without_a_mounted_token_a_pod_is_not_ready(tmp_path):
    with pytest.raises(NotReadyError):
        in_cluster({"KUBERNETES_SERVICE_HOST": "h", "KUBERNETES_SERVICE_PORT": "443"}, tmp_path)


def test_outside_of_a_pod_there_is_no_service_account():
    with pytest.raises(InvalidInputError):
        in_cluster({})


def test_credentials_are_looked_for_in_the_order_of_gardeners_extensions(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    for path in (first, second, tmp_path / ".kube"):
        path.mkdir()
    named = written(first, kubeconfig({"server": "https://named"}))
    variable = written(second, kubeconfig({"server": "https://variable"}))
    written(tmp_path / ".kube", kubeconfig({"server": "https://home"}))
    home = {"HOME": str(tmp_path)}

    assert default(str(named), home | {"KUBECONFIG": str(variable)}).server == "https://named"
    assert default("", home | {"KUBECONFIG": str(variable)}).server == "https://variable"
    assert default("", home).server == "https://home"
    with pytest.raises(InvalidInputError, match="no cluster is known"):
        default("", {"HOME": str(first)})


def test_a_pod_prefers_its_service_account_to_a_home_directory(tmp_path):
    environment = {"HOME": str(tmp_path), "KUBERNETES_SERVICE_HOST": "h", "KUBERNETES_SERVICE_PORT": "1"}

    with pytest.raises(NotReadyError):
        default("", environment)
