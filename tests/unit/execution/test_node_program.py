"""What a node is sent for one of our modules: whole, alone, and its arguments are never more than values."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.cri import node_side
from orchestrator.execution.node_program import ARGUMENTS, OLDEST_PYTHON, node_program

ROLE = Path(__file__).parents[3] / "roles" / "node"
MODULES = sorted(path.stem for path in (ROLE / "library").glob("*.py"))
SOURCES = [*(ROLE / "library").glob("*.py"), *(ROLE / "module_utils").glob("*.py"), Path(node_side.__file__)]

ECHO = """
from ansible.module_utils.upper import upper
def main(arguments):
    import json
    print(json.dumps({"said": arguments, "upper": upper("x")}))
"""


@pytest.fixture
def role(tmp_path):
    """A role whose one module answers with its arguments, by two modules that need each other's names."""
    for name, source in {
        "library/echo.py": ECHO,
        "module_utils/upper.py": "from ansible.module_utils.deeper import same\ndef upper(text): return same(text.upper())\n",
        "module_utils/deeper.py": "def same(text): return text\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(source)
    return tmp_path


def run(program, arguments, **options):
    """What the program prints when Ansible has put in the arguments as it does."""
    text = program.replace(ARGUMENTS, json.dumps(arguments))
    return subprocess.run([sys.executable], input=text, capture_output=True, text=True, check=False, **options)


@pytest.mark.parametrize(
    "value",
    [
        "plain",
        '"); raise SystemExit(3) #',
        "''' \"\"\" \\N{BULLET} \\",
        "line\nline\r\ttab \x00 \x7f",
        "\u00e9 \u2028 \U0001f600",
        "\udcff of a file that is no UTF-8",
        ARGUMENTS,
        True,
        None,
        1.5,
        {"a": [1, {"b": False}]},
    ],
)
def test_an_argument_arrives_as_it_was_sent_whatever_it_is(role, value):
    done = run(node_program(role, "echo"), {"value": value})

    assert {"said": {"value": value}, "upper": "X"} == json.loads(done.stdout)
    assert not done.stderr


def test_nothing_in_the_directory_of_the_login_is_imported(role, tmp_path):
    (tmp_path / "json.py").write_text("raise SystemExit('not this one')")
    done = run(node_program(role, "echo"), {}, cwd=tmp_path)

    assert not done.stderr
    assert {"said": {}, "upper": "X"} == json.loads(done.stdout)


def test_an_error_names_the_module_and_the_line(role):
    (role / "module_utils" / "upper.py").write_text("def upper(text):\n    return text.shout()\n")
    done = run(node_program(role, "echo"), {})

    assert done.returncode == 1
    assert 'File "ansible.module_utils.upper", line 2, in upper' in done.stderr


def test_a_python_that_is_too_old_says_so():
    program = node_program(ROLE, "gvisor_probe").replace("sys.version_info <", "(3, 8) <")
    done = run(program, {})

    assert done.returncode == 1
    assert done.stderr.startswith("Python 3.9 or newer is needed, this is 3.")


@pytest.mark.parametrize("name", MODULES)
def test_a_program_needs_nothing_of_ansible(name):
    """It is run where no package is installed, without what it must have: it says which options these are."""
    program = node_program(ROLE, name).replace(ARGUMENTS, "{}")
    done = subprocess.run([sys.executable, "-IS"], input=program, capture_output=True, text=True, check=False)

    assert "options that are unknown: []; that are missing: [" in done.stderr
    assert "from ansible" not in program  # Ansible would take it for a module that wants its framework


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_a_source_is_python_3_9_and_imports_the_standard_library_and_ours(path):
    tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=OLDEST_PYTHON)
    plain = {name.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    named = {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    ours = {name for name in named if name.startswith("ansible.module_utils.gvisor_")}

    assert plain | {name.split(".")[0] for name in named - ours} <= set(sys.stdlib_module_names)
    assert all((ROLE / "module_utils" / f"{name.rpartition('.')[2]}.py").is_file() for name in ours)
