"""The one command line: it arrives as it is through every quoting, or it is refused."""

import json
import shlex
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.cri.command import BOOTSTRAP, PLACEHOLDER, bootstrap, command_line, program
from orchestrator.errors import InvalidInputError

HOSTILE = [
    "",
    "python3",
    "/usr/bin/python3;reboot",
    "/usr/bin/$(reboot)",
    "/usr/bin/`reboot`",
    "/usr/bin/py thon",
    "/usr/bin/python3'",
    '/usr/bin/python3"',
    "/usr/bin/python3\n",
    "/usr/bin/python3&",
    "/usr/bin/{{ lookup }}",
    "/usr/bin/\\python3",
    "~/python3",
    "/usr/bin/python3*",
]


@pytest.mark.parametrize("python", HOSTILE)
def test_a_python_path_that_a_shell_could_take_for_its_own_is_refused(python):
    with pytest.raises(InvalidInputError) as caught:
        command_line(python, "")

    assert "ansible_python_interpreter" in caught.value.remedy


@given(st.text(min_size=1, max_size=30))
@settings(max_examples=200)
def test_whatever_the_path_is_the_shell_gets_exactly_it_or_nothing(text):
    try:
        command = bootstrap("/" + text)
    except InvalidInputError:
        return
    assert ["/" + text, "-I", "-S", "-c", BOOTSTRAP] == shlex.split(command)


def test_the_bootstrap_has_no_character_that_single_quotes_or_double_quotes_would_change():
    assert not set("'$`\\!\n") & set(bootstrap("/usr/bin/python3"))
    assert '"' not in BOOTSTRAP


@pytest.mark.parametrize("depth", [0, 1, 2, 3])
def test_any_number_of_single_quotings_carries_the_command_unchanged(depth):
    template = f"echo BECOME-SUCCESS-abc ; {PLACEHOLDER}"
    for _ in range(depth):
        template = f"/bin/sh -c {shlex.quote(template)}"

    words = command_line("/usr/bin/python3", template)
    for _ in range(depth):
        words = shlex.split(words)[2]

    assert shlex.split(words)[-5:] == ["/usr/bin/python3", "-I", "-S", "-c", BOOTSTRAP]


@pytest.mark.parametrize(
    "template",
    [
        f"sudo -u root 'echo BECOME ; {PLACEHOLDER}'",
        "sudo -n true",
        f"{PLACEHOLDER} ; {PLACEHOLDER}",
        f'sh -c "{PLACEHOLDER}"',
        f"sh -c '{PLACEHOLDER}",
        f"sudo sh -c \"sh -c '{PLACEHOLDER}'\"",
    ],
    ids=["no shell", "none", "two", "double quotes", "open quote", "double quotes outside"],
)
def test_a_template_that_would_change_the_command_is_refused_before_anything_runs(template):
    with pytest.raises(InvalidInputError) as caught:
        command_line("/usr/bin/python3", template)

    assert PLACEHOLDER in caught.value.why


def test_the_first_line_of_stdin_is_the_program_and_nothing_after_it_is_touched():
    source = "import os\nos.write(1, (word + os.read(0, 99).decode()).encode())"
    line = json.dumps([source, {"word": 'it\'s "here" $HOME: '}]).encode() + b"\n"

    done = subprocess.run(
        ["/bin/sh", "-c", command_line("/usr/bin/python3", "")], input=line + b"rest", capture_output=True, check=True
    )

    assert done.stdout == b'it\'s "here" $HOME: rest'


def test_the_program_is_one_line():
    assert program("token").count(b"\n") == 1
