"""Requests to one API server: raw objects in, raw objects out, each with a deadline, and errors with a decision.

The transport is the official client's; its models are not used, because a typed read-modify-write drops the fields it
does not know. Nothing here limits how many requests there are: the API server's own priority and fairness does, and is
obeyed (429 with ``Retry-After``). What is not repeated here is repeated by the work queue.

A client belongs to one set of credentials; each Shoot gets one of its own, with its own authority.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlencode

import urllib3
from kubernetes.client.api_client import ApiClient
from kubernetes.client.configuration import Configuration
from kubernetes.client.exceptions import ApiException

from orchestrator.kube import api_error
from orchestrator.kube.resource import name_of, namespace_of
from orchestrator.kube.secret_file import SecretFile
from orchestrator.kube.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import TracebackType

    from kubernetes.client.rest import RESTResponse

    from orchestrator.api.merge_patch import Patch
    from orchestrator.api.view import RawObject
    from orchestrator.kube.credentials import Credentials
    from orchestrator.kube.resource import Resource

PAGE: Final = 500
"""Objects in a page of a list, as client-go's pager has it."""

_CONNECT: Final = 5.0  # seconds
_TRIES: Final = 10  # as client-go: answers with Retry-After
_LOOPBACK: Final = "localhost,127.0.0.0/8,::1"
_MERGE_PATCH: Final = "application/merge-patch+json"
_JSON: Final = "application/json"


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list, and the resourceVersion of the whole, from which a watch goes on."""

    items: tuple[RawObject, ...]
    resource_version: str


@dataclass(frozen=True, slots=True)
class Selection:
    """Which objects a list or a watch is about: those in a namespace (empty: in all) that both selectors match."""

    namespace: str = ""
    labels: str = ""
    fields: str = ""

    @property
    def query(self) -> dict[str, str]:
        """As the API server takes it."""
        return {
            name: value for name, value in (("labelSelector", self.labels), ("fieldSelector", self.fields)) if value
        }


EVERYTHING: Final = Selection()


@dataclass(frozen=True, slots=True)
class _Request:
    """What is asked for; ``verb`` is Kubernetes' word for it."""

    verb: str
    method: str
    path: str
    what: str
    query: Mapping[str, str]
    body: RawObject | None = None
    content_type: str = _JSON
    read_timeout: float | None = None


class Client:
    """Safe for threads.

    Args:
        credentials: where, and as whom.
        connections: how many are kept open between requests; more are made when more are needed at once.
        timeout: seconds that an answer may take; a watch has its own.
        silence: seconds after the end of a watch's own time in which its server has to have ended it.
        sleep: waits so many seconds.
        observe: told each request by verb and HTTP status, 0 for none.

    Raises of every method:
        ApiError: one of its classes, by what the server answered.
        NotReadyError: there is no token at the moment.
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        connections: int = 64,
        timeout: float = 30.0,
        silence: float = 10.0,
        sleep: Callable[[float], None] = time.sleep,
        observe: Callable[[str, int], None] | None = None,
    ) -> None:
        self._credentials = credentials
        self._timeout = timeout
        self._silence = silence
        self._sleep = sleep
        self._observe = observe
        self._files = [SecretFile.of(credentials.certificate), SecretFile.of(credentials.key)]
        certificate, key = (file.path if file else None for file in self._files)
        configuration = Configuration(
            host=credentials.server,
            ca_cert_data=credentials.authority.decode("ascii") or None,
            cert_file=certificate,
            key_file=key,
            tls_server_name=credentials.server_name or None,
            proxy=credentials.proxy or None,
            connection_pool_maxsize=connections,
            retries=False,  # urllib3's own would repeat three times without any pause
        )
        if not credentials.proxy:
            # As Go has it: what the environment says of proxies is never meant for this machine itself.
            configuration.no_proxy = ",".join(filter(None, (configuration.no_proxy, _LOOPBACK)))
        configuration.keep_alive = True  # a peer that is gone is noticed within three minutes, also by a watch
        self._api = ApiClient(configuration)

    def sibling(self) -> Client:
        """Another client with the same credentials and connections of its own, which whoever asks closes."""
        return Client(self._credentials, timeout=self._timeout, silence=self._silence, observe=self._observe)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections and forget the client's key; call it once, when nothing is under way."""
        self._api.close()  # type: ignore[no-untyped-call]
        for file in self._files:
            if file is not None:
                file.close()
        self._files = []

    def get(self, resource: Resource, name: str, namespace: str = "") -> RawObject:
        """Read one object; AbsentError if it is not there."""
        what = self._what("reading", resource.label(namespace, name))
        return self._answer(_Request("get", "GET", resource.path(namespace, name), what, {}))

    def find(self, resource: Resource, name: str, namespace: str = "") -> RawObject | None:
        """Read one object; None if it, or its kind, is not there."""
        try:
            return self.get(resource, name, namespace)
        except api_error.AbsentError:
            return None

    def pages(self, resource: Resource, selection: Selection = EVERYTHING, limit: int = PAGE) -> Iterator[Page]:
        """Read a list page by page, so that no more than one is decoded at a time.

        Raises:
            ExpiredError: reading took so long that the server has forgotten the list; begin anew.
        """
        what = self._what("listing", resource.label(selection.namespace))
        following = ""
        while True:
            query = selection.query | {"limit": str(limit)} | ({"continue": following} if following else {})
            answer = self._answer(_Request("list", "GET", resource.path(selection.namespace), what, query))
            metadata = answer.get("metadata") or {}
            # Lists of built-in kinds leave out what is the same for all of their items.
            common = {"apiVersion": resource.api_version, "kind": resource.kind}
            items = tuple(common | item for item in answer.get("items") or ())
            yield Page(items, str(metadata.get("resourceVersion") or ""))
            following = str(metadata.get("continue") or "")
            if not following:
                return

    def watch(
        self,
        resource: Resource,
        resource_version: str,
        timeout: int,
        selection: Selection = EVERYTHING,
    ) -> Watch:
        """Begin to watch from a resourceVersion, with bookmarks.

        Args:
            resource: what is watched.
            resource_version: of a list or an event.
            timeout: seconds after which the server ends the watch; a server that does not is taken for dead soon after.
            selection: which objects.
        """
        what = self._what("watching", resource.label(selection.namespace))
        query = selection.query | {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(timeout),
        }
        path = resource.path(selection.namespace)
        response = self._ask(_Request("watch", "GET", path, what, query, read_timeout=timeout + self._silence))
        return Watch(response.response, what)

    def create(self, resource: Resource, raw: RawObject) -> RawObject:
        """Make an object in the namespace that it names; AlreadyExistsError if there is one of its name.

        Returns:
            The object as the server made it.
        """
        namespace = namespace_of(raw)
        what = self._what("creating", resource.label(namespace, name_of(raw)))
        return self._answer(_Request("create", "POST", resource.path(namespace), what, {}, raw))

    def patch(
        self, resource: Resource, name: str, patch: Patch, namespace: str = "", subresource: str = ""
    ) -> RawObject:
        """Apply a merge patch (RFC 7386).

        A patch with a ``metadata.resourceVersion`` is applied to that version only, else ConflictError: an optimistic
        lock. AbsentError if the object is not there.

        Returns:
            The object after it.
        """
        what = self._what("changing", resource.label(namespace, name))
        path = resource.path(namespace, name, subresource)
        return self._answer(_Request("patch", "PATCH", path, what, {}, patch, content_type=_MERGE_PATCH))

    def delete(self, resource: Resource, name: str, namespace: str = "", uid: str = "") -> bool:
        """Ask for an object's deletion; whether it is gone then is up to its finalizers.

        Args:
            resource: its kind.
            name: its name.
            namespace: its namespace.
            uid: delete this very object only, else ConflictError.

        Returns:
            False if it was not there.
        """
        what = self._what("deleting", resource.label(namespace, name))
        options: dict[str, Any] = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        if uid:
            options["preconditions"] = {"uid": uid}
        try:
            self._answer(_Request("delete", "DELETE", resource.path(namespace, name), what, {}, options))
        except api_error.AbsentError:
            return False
        return True

    def _what(self, doing: str, label: str) -> str:
        return f"{doing} {label} on {self._credentials.server} failed"

    def _answer(self, request: _Request) -> dict[str, Any]:
        content = self._content(self._ask(request), request.what)
        try:
            answer = json.loads(content)
        except ValueError as error:
            raise api_error.unreachable(request.what, f"the answer is no JSON: {content[:80]!r}") from error
        if not isinstance(answer, dict):
            raise api_error.unreachable(request.what, f"the answer is no object: {content[:80]!r}")
        return answer

    def _ask(self, request: _Request) -> RESTResponse:
        """Send a request until it is answered well, or not to be repeated; its body is not read yet."""
        renewed = False
        waited = 0.0
        for _ in range(_TRIES):
            response = self._send(request)
            if HTTPStatus.OK <= response.status < HTTPStatus.MULTIPLE_CHOICES:
                return response
            content = self._content(response, request.what)
            error = api_error.from_answer(request.what, response.status, content)
            if isinstance(error, api_error.UnauthorizedError) and not renewed and self._renew():
                renewed = True
                continue
            pause = retry_after(response.status, response.headers.get("Retry-After"))
            if pause is None or waited + pause > self._timeout:
                raise error
            self._sleep(pause)
            waited += pause
        raise error

    def _send(self, request: _Request) -> RESTResponse:
        url = f"{self._credentials.server}{request.path}"
        if request.query:
            url += f"?{urlencode(request.query)}"
        headers = {"Accept": _JSON, "User-Agent": "gvisor-nodes"}
        if request.body is not None:
            headers["Content-Type"] = request.content_type
        if self._credentials.token is not None:
            headers["Authorization"] = f"Bearer {self._credentials.token.read()}"
        timeout = (_CONNECT, request.read_timeout or self._timeout)
        status = 0
        begun = time.monotonic()
        try:
            response = self._api.call_api(
                request.method, url, header_params=headers, body=request.body, _request_timeout=timeout
            )
            status = int(response.status)
        except (urllib3.exceptions.HTTPError, ApiException, OSError) as error:
            # It is also raised where a server is slow to shake hands, long before it can be called silent.
            late = time.monotonic() - begun >= timeout[1]
            if request.verb == "watch" and late and isinstance(error, urllib3.exceptions.ReadTimeoutError):
                raise api_error.silent(request.what) from error
            raise api_error.unreachable(request.what, _words(error)) from error
        finally:
            if self._observe is not None:
                self._observe(request.verb, status)
        return response

    def _content(self, response: RESTResponse, what: str) -> bytes:
        try:
            return bytes(response.read())  # type: ignore[no-untyped-call]
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise api_error.unreachable(what, _words(error)) from error

    def _renew(self) -> bool:
        return self._credentials.token is not None and self._credentials.token.renew()


def retry_after(status: int, header: str | None) -> float | None:
    """The seconds to wait before the same request again, or None if the answer does not ask for that. Pure.

    Source: kubernetes/client-go v0.37 ``rest/with_retry.go``: 429 and 5xx, only with whole seconds in the header.
    """
    asks = status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR
    return float(header) if asks and header is not None and header.isdecimal() else None


def _words(error: Exception) -> str:
    # The official client hides OpenSSL's words in a field of its own error.
    return str(getattr(error, "reason", None) or error)
