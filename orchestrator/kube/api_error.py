"""What an API server's refusals mean: the one place where its answers become errors with a decision.

The classes say what the caller can do: plan again (absent, already there), read anew (conflict, expired), try later
(unavailable, unauthorized), or have somebody act (forbidden, invalid). Pure: an answer's status and body in, an error
out. Bodies of requests, headers and tokens are never part of an error.

Source: kubernetes/apimachinery v0.37 ``pkg/apis/meta/v1/types.go`` (reasons of a Status) and ``pkg/api/errors``.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from orchestrator.errors import GvisorNodesError, InvalidInputError, NotReadyError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping


class ApiError(GvisorNodesError):
    """An API server did not do what it was asked for.

    Attributes:
        status: the HTTP status; 0 if there was no answer.
    """

    status: int = 0


class AbsentError(ApiError, RefusedError):
    """The object, or its kind, is not there."""


class AlreadyExistsError(ApiError, RefusedError):
    """An object of this name is there already."""


class ForbiddenError(ApiError, RefusedError):
    """The user of these credentials may not do that."""


class InvalidObjectError(ApiError, InvalidInputError):
    """The API server does not accept what was sent; sending it again does not help."""


class ConflictError(ApiError, NotReadyError):
    """The object is not the one that the change was made for; read it anew and make the change anew."""


class ExpiredError(ApiError, NotReadyError):
    """The API server has forgotten what happened since this resourceVersion; list anew."""


class UnauthorizedError(ApiError, NotReadyError):
    """The credentials are not accepted, at least not now: tokens are renewed by others."""


class UnavailableError(ApiError, NotReadyError):
    """There was no answer, or one that says that the API server cannot serve now."""


class SilentError(UnavailableError):
    """A watch said nothing for so long that its server is taken for dead."""


_BY_STATUS: Final[dict[int, tuple[type[ApiError], str]]] = {
    HTTPStatus.BAD_REQUEST: (InvalidObjectError, "correct what the message names"),
    HTTPStatus.UNAUTHORIZED: (
        UnauthorizedError,
        "look at the token or certificate of these credentials; whoever issues them has to renew them",
    ),
    HTTPStatus.FORBIDDEN: (ForbiddenError, "grant what the message names to the user it names, by RBAC"),
    HTTPStatus.NOT_FOUND: (AbsentError, "look whether somebody has deleted it"),
    HTTPStatus.CONFLICT: (ConflictError, "nothing: it is tried again with the newer object"),
    HTTPStatus.GONE: (ExpiredError, "nothing: it is listed anew"),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: (InvalidObjectError, "make the object smaller"),
    HTTPStatus.UNPROCESSABLE_ENTITY: (InvalidObjectError, "correct what the message names"),
}
_UNAVAILABLE: Final = "nothing, if the API server comes back; else look at it and at the way to it"
_NO_KIND: Final = "install the CustomResourceDefinition of this kind, or look at the API version"
_SHOWN: Final = 500  # characters of a body that is no Status


def from_answer(what: str, status: int, body: bytes) -> ApiError:
    """Make the error of an answer.

    Args:
        what: what was asked for, and of which server.
        status: the HTTP status, 400 and above.
        body: a Status object of Kubernetes in JSON, or whatever stands between has to say.
    """
    said = _status_object(body)
    reason = str(said.get("reason") or "")
    kind, remedy = _kind(status, reason, said)
    error = kind(what, why=_why(status, said, body), remedy=remedy)
    error.status = status
    return error


def from_status(what: str, said: Mapping[str, Any]) -> ApiError:
    """Make the error of a Status object, as a watch sends it within a stream that began well."""
    return from_answer(what, int(said.get("code") or HTTPStatus.INTERNAL_SERVER_ERROR), json.dumps(said).encode())


def unreachable(what: str, why: str) -> UnavailableError:
    """Make the error of a request without an answer."""
    return UnavailableError(what, why=why, remedy=_UNAVAILABLE)


def silent(what: str) -> SilentError:
    """Make the error of a watch that its server neither fed nor ended."""
    return SilentError(what, why="the server neither sent anything nor ended it in time", remedy=_UNAVAILABLE)


def _kind(status: int, reason: str, said: Mapping[str, Any]) -> tuple[type[ApiError], str]:
    if status == HTTPStatus.CONFLICT and reason == "AlreadyExists":
        return AlreadyExistsError, "nothing, if that is the wanted one; else delete it"
    if status == HTTPStatus.NOT_FOUND and not (said.get("details") or {}).get("name"):
        return AbsentError, _NO_KIND
    if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return UnavailableError, _UNAVAILABLE
    return _BY_STATUS.get(status, (ApiError, "look at the message"))


def _why(status: int, said: Mapping[str, Any], body: bytes) -> str:
    message = str(said.get("message") or "") or body.decode(errors="replace").strip()[:_SHOWN]
    return f"{status}: {message}" if message else f"{status}, without a word"


def _status_object(body: bytes) -> Mapping[str, Any]:
    try:
        said = json.loads(body)
    except ValueError:
        return {}
    return said if isinstance(said, dict) and said.get("kind") == "Status" else {}
