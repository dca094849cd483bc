"""One lock a key, and none for keys that nobody uses."""

from __future__ import annotations

import threading

from orchestrator.controller.keyed_lock import KeyedLock


def test_a_key_is_held_by_one_and_other_keys_are_free():
    lock = KeyedLock()
    entered = threading.Event()

    def enter():
        with lock.held("a"):
            entered.set()

    other = threading.Thread(target=enter, daemon=True)
    with lock.held("a"):
        other.start()
        with lock.held("b"):
            assert not entered.wait(0.05)
    other.join(10)

    assert entered.is_set()
    assert 0 == len(lock)
