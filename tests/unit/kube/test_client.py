import pytest

from orchestrator.kube.client import Selection, retry_after


@pytest.mark.parametrize(
    ("status", "header", "pause"),
    [
        (429, "1", 1),
        (503, "2", 2),
        (500, "0", 0),
        (429, None, None),
        (429, "soon", None),
        (429, "-1", None),
        (409, "1", None),
        (404, "1", None),
    ],
)
def test_only_an_overloaded_server_that_says_when_is_asked_again(status, header, pause):
    assert retry_after(status, header) == pause


def test_a_selection_asks_for_no_more_than_it_says():
    assert Selection().query == {}
    assert Selection("a", labels="x=y", fields="metadata.name=z").query == {
        "labelSelector": "x=y",
        "fieldSelector": "metadata.name=z",
    }
