import json

import pytest

from orchestrator.errors import InvalidInputError, NotReadyError, RefusedError
from orchestrator.kube import api_error
from orchestrator.kube.api_error import from_answer, from_status, unreachable


def status(code, reason, message="", **details):
    return {"kind": "Status", "code": code, "reason": reason, "message": message, "details": details}


def answer(code, reason, message="", **details):
    return from_answer("asking", code, json.dumps(status(code, reason, message, **details)).encode())


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (400, "BadRequest", api_error.InvalidObjectError),
        (401, "Unauthorized", api_error.UnauthorizedError),
        (403, "Forbidden", api_error.ForbiddenError),
        (404, "NotFound", api_error.AbsentError),
        (409, "Conflict", api_error.ConflictError),
        (409, "AlreadyExists", api_error.AlreadyExistsError),
        (410, "Expired", api_error.ExpiredError),
        (413, "RequestEntityTooLarge", api_error.InvalidObjectError),
        (422, "Invalid", api_error.InvalidObjectError),
        (429, "TooManyRequests", api_error.UnavailableError),
        (500, "InternalError", api_error.UnavailableError),
        (503, "ServiceUnavailable", api_error.UnavailableError),
        (504, "Timeout", api_error.UnavailableError),
        (418, "Teapot", api_error.ApiError),
    ],
)
def test_every_refusal_is_one_decision(code, reason, kind):
    error = answer(code, reason)

    assert type(error) is kind
    assert error.status == code
    assert error.remedy


def test_what_helps_is_told_by_the_class():
    assert isinstance(answer(409, "Conflict"), NotReadyError)
    assert isinstance(answer(503, "ServiceUnavailable"), NotReadyError)
    assert isinstance(answer(401, "Unauthorized"), NotReadyError)
    assert isinstance(answer(403, "Forbidden"), RefusedError)
    assert isinstance(answer(422, "Invalid"), InvalidInputError)


def test_the_servers_own_words_are_the_reason():
    error = answer(403, "Forbidden", 'secrets is forbidden: User "a" cannot list')

    assert error.why == '403: secrets is forbidden: User "a" cannot list'
    assert error.what == "asking"


def test_a_kind_that_is_not_there_has_another_remedy_than_an_object_that_is_not():
    assert "CustomResourceDefinition" in answer(404, "NotFound", "the server could not find it").remedy
    assert "deleted" in answer(404, "NotFound", "", name="a", kind="secrets").remedy


@pytest.mark.parametrize("body", [b"", b"<html>bad gateway</html>", b"[1]", b"\xff\xfe"])
def test_an_answer_of_something_in_between_is_told_as_it_is(body):
    error = from_answer("asking", 502, body)

    assert type(error) is api_error.UnavailableError
    assert error.why.startswith("502")


def test_an_error_within_a_watch_is_the_same_as_an_answer():
    assert type(from_status("watching", status(410, "Expired"))) is api_error.ExpiredError
    assert type(from_status("watching", {})) is api_error.UnavailableError


def test_no_answer_is_unavailable():
    error = unreachable("asking", "connection refused")

    assert (error.status, error.why) == (0, "connection refused")
