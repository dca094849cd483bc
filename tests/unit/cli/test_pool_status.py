"""What ``status --cluster`` says of pools, and how it ends."""

from __future__ import annotations

import io
import sys

import pytest

from orchestrator.api.node import Node
from orchestrator.cli.options import Output
from orchestrator.cli.pool_status import changes_until_ctrl_c, document, exit_code, line, rows
from orchestrator.controller.nodes.mark import Failure, Marks, Proof
from orchestrator.controller.nodes.plan import NodeState, State
from orchestrator.controller.nodes.report import Seen
from orchestrator.controller.nodes.survey import Sight


def state(name, how=State.READY, why="", **marks):
    return NodeState(Node.read({"metadata": {"name": name}}), Marks(**marks), how, why)


def sight(*states):
    return Sight("ns/a", Seen(states, "f"))


PROVED = state("n1", proof=Proof("u", "f", "20260905.0", 2, 1790000000))
FAILED = state("n2", State.FAILED, "it fails", failure=Failure("u", "apply", step="containerd", at=1790000000))
LOST = Sight("ns/b", None, "its nodes cannot be looked at: no Secret")
ASLEEP = Sight("ns/c", None, "the Shoot is hibernated", asleep=True)


def test_every_node_has_a_row_and_a_pool_that_shows_none_says_why():
    found = rows([sight(FAILED, PROVED), sight(), LOST, ASLEEP])

    assert [
        "ns/a n1 Ready 20260905.0",
        "ns/a n2 Failed [containerd] it fails",
        "ns/a it has no node",
        "ns/b Unknown its nodes cannot be looked at: no Secret",
        "ns/c Hibernated the Shoot is hibernated",
    ] == [line(row) for row in found]


@pytest.mark.parametrize(
    ("sights", "code"),
    [
        ([], 0),
        ([sight()], 0),
        ([sight(PROVED), ASLEEP], 0),
        ([sight(PROVED, state("n3", State.RUNNING))], 1),
        ([sight(PROVED, state("n3", State.UNREADY))], 1),
        ([sight(FAILED, state("n3", State.PENDING))], 3),
        ([sight(PROVED), LOST], 3),
    ],
)
def test_the_exit_code_is_that_of_the_worst_node(sights, code):
    assert code == exit_code(rows(sights)) == document(sights)["exit_code"]


def test_a_document_has_every_field_of_every_node():
    [pool] = document([sight(FAILED)])["pools"]

    assert ("ns/a", None, "f") == (pool["pool"], pool["why"], pool["fingerprint"])
    assert [
        {
            "name": "n2",
            "state": "Failed",
            "release": None,
            "generation": None,
            "step": "containerd",
            "message": "it fails",
            "since": "2026-09-21T14:13:20Z",
        }
    ] == pool["nodes"]


class CtrlCAfter(io.StringIO):
    """An output whose reader ends the command as soon as a text is written."""

    def __init__(self, text):
        super().__init__()
        self._text = text

    def write(self, text):
        written = super().write(text)
        if self._text in text:
            raise KeyboardInterrupt
        return written


def test_who_ends_a_watch_on_seeing_a_line_gets_the_exit_code_of_that_line(monkeypatch):
    monkeypatch.setattr("sys.stdout", CtrlCAfter("Ready"))

    code = changes_until_ctrl_c(
        [sight(state("n1", State.RUNNING))], lambda: None, lambda: [sight(PROVED)], Output.table
    )

    assert (0, "ns/a n1 Running\nns/a n1 Ready 20260905.0\n") == (code, sys.stdout.getvalue())


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "it is not known whose status is wanted"),
        (["-i", "hosts", "--cluster", "ns/a"], "--inventory and --cluster cannot be combined"),
        (["--cluster", "ns/a", "--limit", "n1", "--become"], "--limit, --become has no meaning with --cluster"),
        (["-i", "hosts", "--watch"], "--watch has no meaning with --inventory"),
        (["--cluster", "a"], "'a' names no ContainerRuntime"),
    ],
)
def test_what_makes_no_sense_is_an_error_before_anybody_is_asked(cli, arguments, text):
    code, _out, err = cli("status", *arguments)

    assert code == 2
    assert text in err
