"""What the documents say about the code is so: links lead somewhere, lists are those of the code."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer.main

from orchestrator.cli.app import EXIT_CODES, app
from orchestrator.lab import tree

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")])
LINK = re.compile(r"\]\((?!https?:|mailto:)(?P<path>[^)#]*)(?:#(?P<anchor>[^)]*))?\)")


def text(name):
    return (ROOT / name).read_text(encoding="utf-8")


def anchors(page):
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_link_leads_to_a_file_and_a_heading_that_exist(page):
    for link in LINK.finditer(page.read_text(encoding="utf-8")):
        target = (page.parent / link["path"]).resolve() if link["path"] else page
        assert target.exists(), link[0]
        if link["anchor"]:
            assert link["anchor"] in anchors(target), link[0]


def test_what_others_write_is_listed_as_it_is_compared():
    page = text("docs/operations.md").split("## What remove leaves")[1]
    listed = dict(re.findall(r"^\| `(/[^`]+)` \| (.+) \|$", page, flags=re.MULTILINE))

    assert listed == tree.WRITTEN_BY_OTHERS
    assert len(listed) <= 6


def test_the_exit_codes_are_those_of_the_command_line():
    page = text("docs/operations.md").split("## Exit codes")[1].split("## ")[0]
    listed = [int(code) for code in re.findall(r"^\| ([0-9]) \|", page, flags=re.MULTILINE)]

    assert list(EXIT_CODES) == listed


def commands():
    for page in PAGES:
        for block in re.findall(
            r"^ *```[a-z]*\n(.*?)^ *```", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE
        ):
            for line in block.splitlines():
                for part in re.split(r"[;|>]|&&", line.strip().removeprefix("$ ")):
                    words = part.strip().split("gvisor-nodes ", 1)
                    if len(words) == 2 and re.fullmatch(r"[\w./~-]*", words[0]) and "[OPTIONS]" not in words[1]:
                        yield pytest.param(words[1], id=f"{page.name}: {words[1][:60]}")


@pytest.mark.parametrize("line", list(commands()))
def test_every_command_in_the_documents_exists_with_its_options(line):
    words = shlex.split(line)
    command = typer.main.get_group(app)
    context = command.make_context("gvisor-nodes", [], resilient_parsing=True)
    while hasattr(command, "get_command") and words and not words[0].startswith("-"):
        command = command.get_command(context, words.pop(0))
        assert command is not None, line
    options = {name for parameter in command.params for name in [*parameter.opts, *parameter.secondary_opts]}
    options |= {"--help", "-h"}

    assert {word.split("=")[0] for word in words if re.match(r"--?[a-z]", word)} <= options
