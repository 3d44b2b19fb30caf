"""A fork does no harm: neither while locks are held or threads run, nor in a child that runs another program."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from source_tree import environment_of_this_checkout

LOCKS_HELD = """
import os, threading
from crl_stream.client import Client, lifetimes

crl = Client(runtime_id="mine")
crl.publisher.invocation("a", "t", "v1", "success")
locks = [crl._troubles._lock, crl.publisher._outbox._lock, crl.publisher._start_lock,
         crl.resolver._changed, crl.resolver._start_lock, lifetimes._lock]
held, done = threading.Event(), threading.Event()

def hold():
    for lock in locks: lock.acquire()
    held.set()
    done.wait()
    for lock in reversed(locks): lock.release()

holder = threading.Thread(target=hold)
holder.start()
held.wait()
child = os.fork()
if child == 0:
    with crl.invocation("a", "t", default="v1"): pass
    health = crl.health()
    assert (health.queued, health.runtime_id) == (1, f"mine-{os.getpid()}"), health
    crl.publisher.invocation("not a name", "t", "v1", "success")
    assert crl.health().rejected == 1
    crl.close(0.2)
    assert crl.publisher.stats.dropped == 1
    os._exit(7)
status = os.waitpid(child, 0)[1]
done.set()
holder.join()
assert os.waitstatus_to_exitcode(status) == 7
assert crl.publisher.stats.queued == 1 and crl.publisher.runtime_id == "mine"
crl.close(0.2)
"""

DESCRIPTORS = """
import os, socket, threading, time
from crl_stream.client import Client

listening = socket.create_server(("127.0.0.1", 0))
os.environ["CRL_BOOTSTRAP_SERVERS"] = "127.0.0.1:%d" % listening.getsockname()[1]
crl = Client()
connections = [listening.accept()[0] for _ in range(2)]         # publisher and resolver wait for an answer
read, write = os.pipe()
child = os.fork()
if child == 0:
    listening.close()
    os.close(write)
    for connection in connections: connection.close()
    os.read(read, 1)                                            # lives until its parent lets it end
    os._exit(0)
crl.close(0.5)
for connection in connections:
    connection.settimeout(20)
    while connection.recv(65536): pass                          # ends although the child is still running
os.write(write, b"x")
os.waitpid(child, 0)
"""

BEFORE_EXEC = """
import subprocess, sys
from crl_stream.client import Client

crl = Client()
done = subprocess.run([sys.executable, "-c", "print('ran')"], preexec_fn=lambda: None, capture_output=True, text=True)
assert (done.stdout.strip(), done.stderr) == ("ran", ""), done
crl.close(0.2)
"""


@pytest.mark.parametrize("program", [LOCKS_HELD, DESCRIPTORS, BEFORE_EXEC], ids=["locks", "descriptors", "exec"])
def test_a_fork_neither_hangs_nor_keeps_what_is_the_parents(tmp_path: Path, program: str) -> None:
    environment = environment_of_this_checkout() | {
        "CRL_BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "XDG_CACHE_HOME": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program],
        capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
