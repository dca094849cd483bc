"""docs/features.md is complete and honest: every row of the field is there, and what it claims has tests."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "features.md"
STATES = {"yes", "partly", "not yet", "does not apply"}
# Rows by section, as many as the field has.
SECTIONS = {"A": 15, "B": 24, "C": 10, "D": 15, "E": 10, "F": 10, "G": 12, "H": 6, "I": 4, "J": 12}
IDS = [f"{section}{number}" for section, rows in SECTIONS.items() for number in range(1, rows + 1)]


def rows():
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and cells[0][1:].isdecimal():
            yield cells


@functools.cache
def marked():
    """Every id that a test carries. The sources are read: a marker on a test that is not collected would not count."""
    return frozenset(markers())


def markers():
    for path in (ROOT / "tests").rglob("test_*.py"):
        source = path.read_text(encoding="utf-8")
        if "pytest.mark.feature" not in source:
            continue
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                for mark in node.decorator_list:
                    if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.feature":
                        yield from (ast.literal_eval(argument) for argument in mark.args)


def test_no_row_is_missing_and_none_is_invented():
    assert IDS == [cells[0] for cells in rows()]


def test_every_row_has_a_name_and_a_state():
    for cells in rows():
        assert len(cells) == 5, cells[0]
        assert cells[1], cells[0]
        assert cells[2] in STATES, cells[0]


def test_what_is_claimed_has_a_test_that_carries_the_rows_id():
    assert [] == [cells[0] for cells in rows() if cells[2] == "yes" and cells[0] not in marked()]


def test_what_is_partly_so_or_does_not_apply_says_why():
    assert [] == [cells[0] for cells in rows() if cells[2] in {"partly", "does not apply"} and not cells[3]]


def test_no_test_carries_a_row_that_does_not_exist_or_is_not_claimed():
    states = {cells[0]: cells[2] for cells in rows()}

    assert {} == {name: states.get(name) for name in marked() if states.get(name) not in {"yes", "partly"}}
