"""The client's threads are operating-system threads, even where gevent has replaced threads with greenlets."""

from __future__ import annotations

import _thread
import subprocess
import sys
import threading
import types
from typing import Any

import pytest
from source_tree import environment_of_this_checkout

from client.waiting import eventually
from crl_stream.client.native_threads import make_thread


def patched(monkeypatch: pytest.MonkeyPatch, start: Any = _thread.start_new_thread) -> list[str]:
    """Pretend that gevent has patched ``threading``; return a list that records how gevent was called."""
    asked: list[str] = []
    gevent, monkey = types.ModuleType("gevent"), types.ModuleType("gevent.monkey")
    gevent.get_hub = lambda: asked.append("hub")  # type: ignore[attr-defined]
    monkey.is_module_patched = lambda name: name == "threading"  # type: ignore[attr-defined]
    monkey.get_original = lambda module, name: start if (module, name) == ("_thread", "start_new_thread") else None  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "gevent", gevent)
    monkeypatch.setitem(sys.modules, "gevent.monkey", monkey)
    monkeypatch.setattr(threading, "Thread", None)  # a patched Thread would be a greenlet
    return asked


def test_without_gevent_it_is_an_ordinary_daemon_thread() -> None:
    thread = make_thread("mine", lambda: None)
    assert isinstance(thread, threading.Thread)
    assert (thread.name, thread.daemon) == ("mine", True)


def test_under_gevent_it_is_a_thread_all_the_same_and_the_hub_is_there_before_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked, told, ran = patched(monkeypatch), threading.Event(), list[int]()

    def run() -> None:
        ran.append(_thread.get_ident())
        told.wait(20.0)

    thread = make_thread("mine", run)
    assert not thread.is_alive()
    thread.start()
    assert eventually(lambda: ran)
    assert ran != [_thread.get_ident()]
    assert asked == ["hub"]
    thread.join(0.02)
    assert thread.is_alive()
    told.set()
    thread.join(20.0)
    assert not thread.is_alive()


def test_where_there_can_be_no_more_threads_starting_one_raises_and_it_is_not_alive(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: Any) -> None:
        raise RuntimeError("can't start new thread")

    patched(monkeypatch, refuse)
    thread = make_thread("mine", lambda: None)
    with pytest.raises(RuntimeError):
        thread.start()
    assert not thread.is_alive()


UNDER_GEVENT = """
from gevent import monkey
monkey.patch_all()
import gevent
from crl_stream.client import Client

crl = Client()
alive = lambda: crl.publisher._background.alive and crl.resolver._background.alive
for _ in range(200):
    gevent.sleep(0.05)
    assert alive()
    if crl.health().trouble: break
assert "Kafka does not answer" in crl.health().trouble, crl.health()
with crl.invocation("a", "t", default="v1"): pass
crl.close(0.5)
"""


def test_under_the_real_gevent_publisher_and_resolver_run_side_by_side() -> None:
    pytest.importorskip("gevent", reason="gevent is not one of the pinned requirements")
    environment = environment_of_this_checkout() | {"CRL_BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    done = subprocess.run(
        [sys.executable, "-c", UNDER_GEVENT], env=environment, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
