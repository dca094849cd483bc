"""Lines of the log: what every line has, what a reconcile adds, and what none ever shows."""

from __future__ import annotations

import contextvars
import io
import json
import logging
import re
import threading
import warnings

import pytest

from orchestrator.controller import log_lines
from orchestrator.controller.verb import Verb
from orchestrator.errors import NotReadyError

OWN = logging.getLogger("orchestrator.controller.reconciler")
LIBRARY = logging.getLogger("kubernetes.client.rest")


@pytest.fixture(autouse=True)
def _the_processes_own_logging_comes_back():
    root, own = logging.getLogger(), logging.getLogger(log_lines.OWN)
    before = root.handlers[:], root.level, own.level, threading.excepthook
    yield
    root.handlers[:], threading.excepthook = before[0], before[3]
    root.setLevel(before[1])
    own.setLevel(before[2])
    logging.captureWarnings(capture=False)


@pytest.fixture
def log():
    """Configure, and read what was logged since."""

    class Log:
        def __init__(self):
            self.stream = io.StringIO()

        def configure(self, level="info", form="json"):
            log_lines.configure(level, form, self.stream)

        @property
        def text(self):
            return self.stream.getvalue()

        @property
        def lines(self):
            return [json.loads(line) for line in self.text.splitlines()]

    return Log()


def test_a_line_is_one_json_object_with_time_level_logger_and_message(log):
    log.configure()

    OWN.warning("Secret %s is not there", "a/b")
    (line,) = log.lines

    assert list(line) == ["ts", "level", "logger", "msg"]
    assert (line["level"], line["logger"], line["msg"]) == ("warning", OWN.name, "Secret a/b is not there")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["ts"])


def test_a_message_of_several_lines_is_one_line(log):
    log.configure()

    OWN.error("%s", NotReadyError("a", remedy="b"))
    OWN.error('{"msg": "\u2028\x00"}')

    assert [line["msg"] for line in log.lines] == ["a\n  to do: b", '{"msg": "\u2028\x00"}']


def test_every_line_within_a_reconcile_tells_which_it_is(log):
    log.configure()

    with log_lines.reconcile("shoot--a--b/gvisor", "1"):
        OWN.info("read")
        log_lines.decided(Verb.DELETE)
        LIBRARY.info("deep below")
    OWN.info("after")

    told = [{key: line.get(key) for key in ("reconcile_id", "object", "verb")} for line in log.lines]
    assert told == [
        {"reconcile_id": "1", "object": "shoot--a--b/gvisor", "verb": "undecided"},
        {"reconcile_id": "1", "object": "shoot--a--b/gvisor", "verb": "delete"},
        {"reconcile_id": None, "object": None, "verb": None},
    ]


def test_two_reconciles_of_an_object_have_different_ids(log):
    log.configure()

    for _ in range(2):
        with log_lines.reconcile("a/b"):
            OWN.info("x")
    first, second = (line["reconcile_id"] for line in log.lines)

    assert first
    assert first != second


def test_reconciles_in_different_threads_do_not_mix_and_a_context_can_be_handed_on(log):
    log.configure()
    both = threading.Barrier(2)

    def work(name):
        with log_lines.reconcile(name):
            both.wait()
            OWN.info(name)

    threads = [threading.Thread(target=work, args=(name,)) for name in ("a/a", "b/b")]
    with log_lines.reconcile("c/c"):
        threads.append(threading.Thread(target=contextvars.copy_context().run, args=(OWN.info, "c/c")))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert sorted(line["object"] for line in log.lines) == ["a/a", "b/b", "c/c"]
    assert all(line["object"] == line["msg"] for line in log.lines)


@pytest.mark.parametrize("form", ["json", "console"])
def test_an_error_is_told_with_its_traceback_and_without_the_values_of_variables(log, form):
    log.configure(form=form)
    variable = "s3cret"

    def fails(given):
        raise NotReadyError("no token", why=f"{len(given)} letters")

    try:
        fails(variable)
    except NotReadyError:
        OWN.exception("failed")

    assert "Traceback" in log.text
    assert "no token: 6 letters" in log.text
    assert "s3cret" not in log.text


def test_in_json_a_traceback_is_one_field(log):
    log.configure()

    OWN.error("failed", exc_info=NotReadyError("x"))
    (line,) = log.lines

    assert line["exception"].endswith("NotReadyError: x")
    assert "exc_info" not in line


@pytest.mark.parametrize(("level", "told"), [("debug", "die"), ("info", "ie"), ("error", "e")])
def test_no_less_than_the_level_is_told(log, level, told):
    log.configure(level)

    OWN.debug("d")
    OWN.info("i")
    OWN.error("e")

    assert "".join(line["msg"] for line in log.lines) == told


def test_libraries_never_tell_what_is_for_debugging_them(log):
    log.configure("debug")

    LIBRARY.debug("response body: a Secret")
    LIBRARY.info("told")

    assert [line["msg"] for line in log.lines] == ["told"]


def test_the_console_is_for_people_and_has_no_colours_where_nobody_looks(log):
    log.configure(form="console")

    with log_lines.reconcile("a/b", "1"):
        OWN.info("done")

    assert "done" in log.text
    assert "object=a/b" in log.text
    assert "\x1b" not in log.text


def test_configured_twice_a_line_is_told_once(log):
    log.configure()
    log.configure()

    OWN.info("x")

    assert len(log.lines) == 1


def test_a_thread_that_dies_and_a_warning_of_python_are_lines_too(log):
    log.configure()

    def dies():
        raise NotReadyError("x")

    thread = threading.Thread(target=dies, name="worker")
    thread.start()
    thread.join()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", stacklevel=1)
    died, warned = log.lines

    assert (died["level"], died["msg"]) == ("error", "the thread worker died")
    assert "NotReadyError: x" in died["exception"]
    assert (warned["logger"], warned["level"]) == ("py.warnings", "warning")
