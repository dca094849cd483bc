"""Requests to a real kube-apiserver."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from kinds import CONFIG_MAPS, NAMESPACES, NOBODY, SECRETS, config_map

from orchestrator.kube import api_error
from orchestrator.kube.client import Client, Selection
from orchestrator.kube.credentials import Credentials, from_file
from orchestrator.kube.resource import Resource
from orchestrator.kube.token import FileToken
from orchestrator.lab.program import call, require


def test_an_object_is_made_read_changed_and_deleted(client, namespace):
    made = client.create(CONFIG_MAPS, config_map(namespace, "a"))

    assert client.get(CONFIG_MAPS, "a", namespace)["metadata"]["uid"] == made["metadata"]["uid"]
    changed = client.patch(CONFIG_MAPS, "a", {"data": {"a": None, "b": "2"}}, namespace)
    assert changed["data"] == {"b": "2"}
    assert client.delete(CONFIG_MAPS, "a", namespace) is True
    assert client.delete(CONFIG_MAPS, "a", namespace) is False
    with pytest.raises(api_error.AbsentError):
        client.get(CONFIG_MAPS, "a", namespace)


def test_an_object_that_is_there_is_not_made_again(client, namespace):
    client.create(CONFIG_MAPS, config_map(namespace, "a"))

    with pytest.raises(api_error.AlreadyExistsError):
        client.create(CONFIG_MAPS, config_map(namespace, "a"))


def test_a_patch_of_an_old_version_is_a_conflict(client, namespace):
    made = client.create(CONFIG_MAPS, config_map(namespace, "a"))
    client.patch(CONFIG_MAPS, "a", {"data": {"b": "2"}}, namespace)

    lock = {"resourceVersion": made["metadata"]["resourceVersion"]}
    with pytest.raises(api_error.ConflictError):
        client.patch(CONFIG_MAPS, "a", {"metadata": lock, "data": {"c": "3"}}, namespace)

    assert client.get(CONFIG_MAPS, "a", namespace)["data"] == {"a": "1", "b": "2"}


def test_a_deletion_can_mean_one_very_object(client, namespace):
    client.create(CONFIG_MAPS, config_map(namespace, "a"))

    with pytest.raises(api_error.ConflictError):
        client.delete(CONFIG_MAPS, "a", namespace, uid="of-another")


def test_what_the_server_does_not_accept_is_told_in_its_words(client, namespace):
    with pytest.raises(api_error.InvalidObjectError, match="Not_A_Name"):
        client.create(CONFIG_MAPS, config_map(namespace, "Not_A_Name"))


def test_a_kind_that_the_server_does_not_know_is_told(client, namespace):
    unknown = Resource("example.org", "v1", "things", "Thing")

    with pytest.raises(api_error.AbsentError, match="CustomResourceDefinition"):
        client.get(unknown, "a", namespace)


def test_a_long_list_is_read_page_by_page(client, namespace):
    for number in range(7):
        client.create(CONFIG_MAPS, config_map(namespace, f"c{number}", labels={"odd": str(number % 2)}))

    pages = list(client.pages(CONFIG_MAPS, Selection(namespace), limit=3))

    assert [len(page.items) for page in pages] == [3, 3, 1]
    assert len({page.resource_version for page in pages}) == 1
    assert {one["kind"] for page in pages for one in page.items} == {"ConfigMap"}
    odd = list(client.pages(CONFIG_MAPS, Selection(namespace, labels="odd=1")))
    assert [one["metadata"]["name"] for one in odd[0].items] == ["c1", "c3", "c5"]
    named = list(client.pages(CONFIG_MAPS, Selection(namespace, fields="metadata.name=c2")))
    assert len(named[0].items) == 1


def test_who_may_not_is_told_what_and_as_whom(kubeconfig, namespace):
    with Client(from_file(kubeconfig(token=NOBODY))) as nobody:
        with pytest.raises(api_error.ForbiddenError, match='User "nobody" cannot get resource "secrets"'):
            nobody.get(SECRETS, "a", namespace)


def test_a_token_that_nobody_knows_is_unauthorized(kubeconfig, server):
    with Client(from_file(kubeconfig(token="sesame"))) as stranger:
        with pytest.raises(api_error.UnauthorizedError) as caught:
            stranger.get(NAMESPACES, "default")

    assert "sesame" not in str(caught.value)


def test_a_token_that_was_renewed_is_used_when_the_old_one_is_refused(server, tmp_path):
    path = tmp_path / "token"
    path.write_text("the-old-one")
    token = FileToken(path)
    assert token.read() == "the-old-one"
    path.write_text(NOBODY)

    with Client(Credentials(server.url, server.authority, token)) as renewed:
        with pytest.raises(api_error.ForbiddenError):
            renewed.get(NAMESPACES, "default")


def test_a_server_with_another_authority_gets_no_token(server, tmp_path):
    token = tmp_path / "token"
    token.write_text("sesame")
    with Client(Credentials(server.url, other_authority(tmp_path), FileToken(token))) as careful:
        with pytest.raises(api_error.UnavailableError, match=r"(?i)certificate"):
            careful.get(NAMESPACES, "default")


def other_authority(tmp_path):
    """The certificate of somebody else."""
    key, certificate = tmp_path / "other.key", tmp_path / "other.crt"
    argv = [require("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    call([*argv, "-subj", "/CN=other", "-keyout", str(key), "-out", str(certificate)], what="openssl failed")
    return certificate.read_bytes()


def test_a_server_that_is_not_there_is_unavailable():
    with Client(Credentials("https://127.0.0.1:1", b"")) as lost:
        with pytest.raises(api_error.UnavailableError, match=r"(?i)refused") as caught:
            lost.get(NAMESPACES, "default")

    assert caught.value.status == 0


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(kubeconfig, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)

    with Client(from_file(kubeconfig())) as client:
        assert client.get(NAMESPACES, "default")["kind"] == "Namespace"


def test_requests_are_counted_by_verb_and_code(kubeconfig, namespace):
    counted = []
    with Client(from_file(kubeconfig()), observe=lambda verb, code: counted.append((verb, code))) as client:
        client.create(CONFIG_MAPS, config_map(namespace, "a"))
        client.delete(CONFIG_MAPS, "b", namespace)
        list(client.pages(CONFIG_MAPS, Selection(namespace)))

    assert counted == [("create", 201), ("delete", 404), ("list", 200)]


def test_a_burst_is_not_held_back(client, namespace):
    with ThreadPoolExecutor(50) as many:
        began = time.monotonic()
        names = [f"c{number}" for number in range(200)]
        list(many.map(lambda name: client.create(CONFIG_MAPS, config_map(namespace, name)), names))
        took = time.monotonic() - began

    # A budget of five requests a second, as client-go's default is, would take 40 s.
    assert took < 30


def test_a_watch_that_waits_is_stopped_from_another_thread(client, namespace):
    version = next(iter(client.pages(CONFIG_MAPS, Selection(namespace)))).resource_version
    ended = threading.Event()
    watching = threading.Event()

    def follow():
        with client.watch(CONFIG_MAPS, version, 600, Selection(namespace)) as watch:
            stops.append(watch.stop)
            watching.set()
            list(watch)
        ended.set()

    stops = []
    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    assert watching.wait(30)

    stops[0]()

    assert ended.wait(60)
    stops[0]()  # once more does no harm


def test_a_watch_sees_what_happens_after_its_version_until_its_time_is_over(client, namespace):
    version = next(iter(client.pages(CONFIG_MAPS, Selection(namespace)))).resource_version
    client.create(CONFIG_MAPS, config_map(namespace, "a"))
    client.delete(CONFIG_MAPS, "a", namespace)

    with client.watch(CONFIG_MAPS, version, 1, Selection(namespace)) as watch:
        events = [event for event in watch if event.type != "BOOKMARK"]

    assert [event.type for event in events] == ["ADDED", "DELETED"]
