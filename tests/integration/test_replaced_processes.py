"""When a server replaces its processes, everything that the old ones published has been sent."""

from __future__ import annotations

import pytest
from installation import Installation

from integration.test_runtime_lifetimes import published, run

pytestmark = pytest.mark.integration

# The part of Celery's signals that a pool's child uses: it sends one signal by name before it calls os._exit.
CELERY_SIGNALS = """
class Signal:
    def __init__(self):
        self.receivers = {}
    def connect(self, receiver, weak=True, dispatch_uid=None):
        self.receivers[dispatch_uid] = receiver
    def send(self, sender, **named):
        return [receiver(signal=self, sender=sender, **named) for receiver in self.receivers.values()]

worker_process_shutdown = Signal()
"""

CELERY = """
import os
import celery.signals
from crl_stream.client import Client

crl = Client(runtime_id="celery") if MADE_AT_IMPORT else None
children = []
for _ in range(3):
    child = os.fork()
    if child == 0:
        crl = crl or Client(runtime_id="celery")
        for _ in range(4):
            with crl.invocation("celery", "task", default="v1"): pass
        celery.signals.worker_process_shutdown.send(sender=None, pid=os.getpid(), exitcode=0)
        os._exit(0)
    children.append(child)
assert all(os.waitpid(child, 0)[1] == 0 for child in children)
"""


@pytest.mark.parametrize("made_at_import", [True, False])
async def test_a_process_of_celery_that_is_replaced_after_some_tasks_has_sent_their_outcomes(
    installation: Installation, *, made_at_import: bool
) -> None:
    """With ``--max-tasks-per-child``, billiard's workers exit with ``os._exit``, a second after Celery's signal."""
    package = installation.folder / "celery"
    package.mkdir()
    (package / "__init__.py").write_text("", encoding="utf-8")
    (package / "signals.py").write_text(CELERY_SIGNALS, encoding="utf-8")
    _, err = await run(installation, f"MADE_AT_IMPORT = {made_at_import}\n{CELERY}")
    assert sum((await published(installation)).values()) == 12, err
