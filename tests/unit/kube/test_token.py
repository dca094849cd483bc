import pytest

from orchestrator.errors import InvalidInputError, NotReadyError
from orchestrator.kube.token import FileToken, FixedToken


@pytest.fixture
def path(tmp_path):
    return tmp_path / "token"


def test_a_renewed_token_is_used_after_a_minute(path, clock):
    path.write_text("one\n")
    token = FileToken(path, clock=clock)
    assert token.read() == "one"
    path.write_text("two")

    clock.advance(59)
    assert token.read() == "one"
    clock.advance(1)
    assert token.read() == "two"


def test_a_token_that_was_refused_is_read_again_at_once(path, clock):
    path.write_text("one")
    token = FileToken(path, clock=clock)
    token.read()
    path.write_text("two")

    assert token.renew()

    assert token.read() == "two"


def test_while_the_file_is_away_the_last_token_serves(path, clock):
    path.write_text("one")
    token = FileToken(path, clock=clock)
    token.read()
    path.unlink()
    clock.advance(100)
    assert token.read() == "one"

    path.write_text("")
    clock.advance(100)

    assert token.read() == "one"


def test_without_any_token_it_is_not_ready(path, clock):
    token = FileToken(path, clock=clock)
    with pytest.raises(NotReadyError, match="no token"):
        token.read()
    path.write_text("  \n")
    with pytest.raises(NotReadyError, match="no token"):
        token.read()
    path.write_text("now")

    assert token.read() == "now"


def test_a_fixed_token_cannot_be_renewed():
    token = FixedToken("a")

    assert (token.read(), token.renew()) == ("a", False)


@pytest.mark.parametrize("text", ["sesame two", "sesame\nX-Other: header", "sésame", "sesame\x00"])
def test_what_can_be_no_token_is_refused_and_not_quoted(path, text):
    path.write_text(text)

    for read in (FileToken(path).read, lambda: FixedToken(text)):
        with pytest.raises(InvalidInputError) as caught:
            read()
        assert "same" not in str(caught.value)


def test_space_around_a_token_is_no_part_of_it():
    assert FixedToken(" a\n").read() == "a"
