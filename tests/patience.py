"""Waiting for what nobody announces."""

from __future__ import annotations

import time

PATIENCE = 120
"""Seconds until something counts as not happening, on a machine that has too much to do."""


def eventually(condition, deadline=PATIENCE, what="", longest=0.2):
    """Wait until a condition holds; return what it returned.

    The pauses between two looks grow up to the longest: most of what is waited for is soon there, and looking at an API
    server all the time keeps it and the test from their work. `what` is the text of the failure, or makes it.
    """
    end = time.monotonic() + deadline
    pause = min(0.01, longest)
    while not (found := condition()):
        assert time.monotonic() < end, f"it did not come true in {deadline} s: {what() if callable(what) else what}"
        time.sleep(pause)
        pause = min(pause * 1.5, longest)
    return found
