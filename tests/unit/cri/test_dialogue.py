"""What is said before the relay greets: every order of prompt, marker and noise."""

import pytest

from orchestrator.cri.dialogue import Dialogue
from orchestrator.cri.faults import AccessError, departure
from orchestrator.cri.node_side import HELLO
from orchestrator.cri.request import Access, Become

PROMPT = "[sudo via ansible, key=abc] password:"
MARKER = "BECOME-SUCCESS-abc"
LINE = b"the program\n"
GREETING = f"\n{HELLO} token 3.13.5\n".encode()


def dialogue(password="s3cret", prompt=PROMPT, success=MARKER):  # noqa: S107 -- of nobody
    become = Become(command="x", prompt=prompt, password=password, success=success)
    return Dialogue(Access(argv=("ssh",), become=become), "token", LINE)


def test_without_a_become_method_the_program_goes_at_once():
    plain = Dialogue(Access(argv=("ssh",)), "token", LINE)

    assert plain.begin() == LINE
    assert plain.hear("stdout", b"Welcome to node1\n" + GREETING + b"rest") == b""
    assert (plain.version, plain.rest) == ("3.13.5", b"rest")


def test_nothing_is_sent_before_the_marker_and_the_password_never_if_it_is_not_asked_for():
    talk = dialogue()

    sent = [talk.begin(), talk.hear("stdout", b"motd\n"), talk.hear("stderr", b"banner\n")]
    program = talk.hear("stdout", MARKER.encode() + b"\n")

    assert sent == [b"", b"", b""]
    assert program == LINE


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_the_password_answers_the_prompt_once_on_either_stream_even_in_pieces(stream):
    talk = dialogue()

    assert talk.hear(stream, PROMPT[:9].encode()) == b""
    assert talk.hear(stream, PROMPT[9:].encode() + b" ") == b"s3cret\n"
    assert talk.hear("stderr", b"\n") == b""
    assert talk.hear("stdout", f"{MARKER}\n".encode()) == LINE


def test_being_asked_again_is_a_wrong_password_and_nothing_more_is_sent():
    talk = dialogue()
    talk.hear("stderr", PROMPT.encode())

    with pytest.raises(AccessError) as caught:
        talk.hear("stderr", b"\nSorry, try again.\n" + PROMPT.encode())

    assert caught.value.code == "become-password-wrong"


def test_being_asked_without_a_password_is_said_so():
    with pytest.raises(AccessError) as caught:
        dialogue(password="").hear("stderr", PROMPT.encode())

    assert caught.value.code == "become-password-missing"


def test_a_prompt_in_the_middle_of_a_line_is_none():
    assert dialogue().hear("stderr", b"hint: you may see " + PROMPT.encode()) == b""


def test_a_prompt_is_not_answered_where_none_is_expected():
    assert dialogue(prompt="").hear("stderr", b"Password: ") == b""


def test_a_greeting_with_another_token_is_noise():
    plain = Dialogue(Access(argv=("ssh",)), "token", LINE)
    plain.begin()
    plain.hear("stdout", f"\n{HELLO} other 3.9.0\n".encode())

    assert plain.version == ""


def test_what_is_repeated_to_a_person_has_no_password_in_it():
    talk = dialogue()
    talk.hear("stdout", b"debug: pass=s3cret\n")

    assert "s3cret" not in talk.said()


@pytest.mark.parametrize(
    ("status", "said", "become", "code"),
    [
        (255, "Host key verification failed.", False, "host-key"),
        (255, "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @", False, "host-key"),
        (255, "ssh: connect to host 10.0.0.1 port 22: Connection refused", True, "unreachable"),
        (255, "root@10.0.0.1: Permission denied (publickey,password).", False, "unreachable"),
        (1, "sudo: a password is required", True, "become-password-missing"),
        (1, "Sorry, try again.\nsudo: no password was provided", True, "become-password-wrong"),
        (1, "sudo: 1 incorrect password attempt", True, "become-password-wrong"),
        (1, "bob is not in the sudoers file.", True, "become-refused"),
        (1, "doas: Operation not permitted", True, "become-refused"),
        (127, "/bin/sh: 1: exec: /usr/bin/python3: not found", False, "python-missing"),
        (1, "SyntaxError: invalid syntax", False, "python-missing"),
        (2, "Unknown option: -I", True, "python-missing"),
        (1, "something else", True, "lost"),
        (None, "", False, "lost"),
    ],
)
def test_an_end_before_the_greeting_is_told_apart(status, said, become, code):
    error = departure(status, said, become=become)

    assert code == error.code
    assert error.why
