"""Which errors have which of Gardener's codes."""

from __future__ import annotations

import pytest

from orchestrator.controller.error_codes import codes
from orchestrator.errors import (
    ConfigurationError,
    GvisorNodesError,
    InvalidInputError,
    MissingComponentError,
    NotReadyError,
    RefusedError,
    StillThereError,
)

NOT_RETRYABLE = {
    "ERR_INFRA_UNAUTHENTICATED",
    "ERR_INFRA_UNAUTHORIZED",
    "ERR_INFRA_DEPENDENCIES",
    "ERR_INFRA_QUOTA_EXCEEDED",
    "ERR_INFRA_RATE_LIMITS_EXCEEDED",
    "ERR_CONFIGURATION_PROBLEM",
    "ERR_PROBLEMATIC_WEBHOOK",
}


def test_what_the_owner_of_a_pool_must_correct_is_a_configuration_problem():
    assert ("ERR_CONFIGURATION_PROBLEM",) == codes(ConfigurationError("x"))


@pytest.mark.parametrize(
    "kind",
    [GvisorNodesError, InvalidInputError, RefusedError, NotReadyError, StillThereError, MissingComponentError],
)
def test_nothing_else_turns_a_shoot_failed(kind):
    assert not NOT_RETRYABLE & set(codes(kind("x")))


def test_objects_that_do_not_go_have_a_code_that_allows_a_forced_deletion():
    assert ("ERR_CLEANUP_CLUSTER_RESOURCES",) == codes(StillThereError("x"))


def test_case_34_errors_without_certainty_have_no_code():
    for error in (NotReadyError("x"), InvalidInputError("x"), ValueError("x"), OSError("x")):
        assert () == codes(error)


def test_codes_of_causes_and_groups_are_collected_once():
    chained = GvisorNodesError("outer")
    chained.__cause__ = ConfigurationError("inner")
    group = ExceptionGroup("all", [chained, chained, ExceptionGroup("in", [StillThereError("y")])])

    assert ("ERR_CLEANUP_CLUSTER_RESOURCES", "ERR_CONFIGURATION_PROBLEM") == codes(group)
