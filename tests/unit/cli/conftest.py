"""A content directory of the tests' own, and a way to run the command line in this process."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from orchestrator.cli import invocation
from orchestrator.cli.app import main
from orchestrator.cli.options import Output
from orchestrator.cli.variables import Wanted
from orchestrator.execution import runner
from orchestrator.execution.content import Content

ROOT = Path(__file__).resolve().parents[3]

ANSWER = """#!/usr/bin/python3
# WANT_JSON
import json, sys
given = json.load(open(sys.argv[1]))
status = given["status"]
failed = status in ("failed", "refused", "invalid")
warnings = given["data"].pop("said", []) if "data" in given else []
print(json.dumps({"changed": status == "changed", "failed": failed, "gvisor": {**given, "warnings": warnings}}))
"""
CHANGES = "[{step: containerd, what: handler runsc in config.toml, why: containerd does not know the handler}]"
STATE = (
    "{containerd: {version: 1.7.24}, journal: {sealed: {at: 1790000000}},"
    " tree: {current: '2', generations: {'2': {release: '20260905.0', flags: '--debug=true\\n'}}}}"
)
PROBE = f"""
    - name: Probe and plan
      answer:
        step: probe
        status: ok
        message: planned
        data:
          plan: {{needed: true, restart: true, changes: {CHANGES}, refusals: []}}
          state: {STATE}
"""
GATE = """
    - name: Gate
      when: inventory_hostname == 'gated'
      answer: {step: preflight, status: refused, message: pods use it, cause: pod default/a, remedy: drain the node}
"""
SAYS = """
    - name: Say
      answer: {step: probe, status: ok, message: planned, data: {said: ["pods may hang: choose another release"]}}
"""
DRIVERS = """
    - name: Judge
      when: inventory_hostname != 'plain'
      answer:
        {step: drivers, status: failed, message: unsupported, cause: its list, remedy: install another driver,
         data: {driver: 570.86.15, gpus: 1, problems: [], warnings: [], rows: [
          {release: '20260224.0', verdict: supported, basis: node, nearest: 570.86.15, in_use: true, asked: false,
           drops: false, fails: false},
          {release: '20260905.0', verdict: known-unsupported, basis: data, nearest: 570.124.06, in_use: false,
           asked: true, drops: true, fails: true}]}}

    - name: Judge
      when: inventory_hostname == 'plain'
      answer:
        {step: drivers, status: ok, message: none, data: {driver: '', gpus: 0, problems: [], warnings: [], rows: []}}
"""
REPORT = """
    - name: Report
      answer:
        step: report
        status: changed
        message: proved
        data:
          {containerd: 1.7.24, release: '20260905.0', restarts: 1, proof: proved, removed: true,
           changes: [generation 1], asked: "{{ runsc_flags | default({}) }}"}
"""


def play(*tasks):
    return "- name: Test\n  hosts: all\n  gather_facts: false\n  tasks:" + "".join(tasks)


@pytest.fixture(scope="session")
def installation(tmp_path_factory):
    """The package as a wheel lays it out, with playbooks of the tests' own inside."""
    root = tmp_path_factory.mktemp("site")
    shutil.copytree(
        ROOT / "orchestrator", root / "orchestrator", ignore=shutil.ignore_patterns("__pycache__", "_ansible")
    )
    content = root / "orchestrator" / "_ansible"
    library = content / "playbooks" / "library"
    library.mkdir(parents=True)
    (content / "roles").mkdir()
    shutil.copy(ROOT / "ansible.cfg", content)
    (library / "answer.py").write_text(ANSWER)
    playbooks = {
        "probe": play(PROBE, GATE),
        "install": play(PROBE, GATE, REPORT),
        "verify": play(PROBE, REPORT),
        "uninstall": play(GATE, REPORT),
        "drivers": play(DRIVERS),
        "warns": play(PROBE, SAYS),
    }
    for name, text in playbooks.items():
        (content / "playbooks" / f"{name}.yml").write_text(text)
    return root


@pytest.fixture
def inventory(tmp_path):
    def make(*hosts):
        path = tmp_path / "hosts"
        path.write_text("".join(f"{host} ansible_connection=local\n" for host in hosts))
        return path

    return make


@pytest.fixture(scope="module")
def run_once():
    """The runner, which keeps what came of a playbook on the same hosts: a file's tests print it in many ways."""
    run, kept = runner.run, {}

    def play(playbook, inventory, *, options, on_event, **more):
        key = (playbook, Path(*inventory).read_text(), options)
        if key not in kept:
            events = []
            kept[key] = run(playbook, inventory, options=options, on_event=events.append, **more), events
        result, events = kept[key]
        for event in events:
            on_event(event)
        return result

    return play


@pytest.fixture
def invoke(installation, capsys, monkeypatch, run_once):
    """Run a playbook of the installation's as a command; return exit code, standard output and standard error."""
    monkeypatch.setattr(runner, "run", run_once)

    def call(command, playbook, inventory, row, *, options=None, output=Output.table, layout=None):
        code = invocation.invoke(
            command,
            playbook,
            [str(inventory)],
            wanted=Wanted(),
            options=options or runner.Options(),
            output=output,
            row=row,
            layout=layout,
            content=Content(installation / "orchestrator" / "_ansible"),
        )
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture
def cli(capsys):
    """Run the command line in this process; return exit code, standard output and standard error."""

    def call(*arguments):
        with pytest.raises(SystemExit) as caught:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return caught.value.code or 0, out, err

    assert sys.modules["orchestrator"]
    return call
