"""Runtimes cope with a fork, and with the end of a script, whatever ends it."""

from __future__ import annotations

import asyncio
import sys
import textwrap
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from builders import AGENT, TASK, a_command, invocations
from client.test_supervision import ThrownInto
from client.waiting import eventually
from installation import Installation

from crl_stream.client import Client, Publisher, Resolver, background
from crl_stream.client.following import Following
from crl_stream.client.sending import Sending
from crl_stream.core import messages as m
from crl_stream.settings import Settings, load_settings
from crl_stream.wire.topics import ACTIVE_VARIANTS, INVOCATIONS

pytestmark = pytest.mark.integration


async def run(installation: Installation, program: str, *, code: int = 0, **more: str) -> tuple[str, str]:
    """Run a runtime's script to its end and return what it wrote to stdout and stderr."""
    environment = installation.environment() | {"XDG_CACHE_HOME": str(installation.folder)} | more
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", textwrap.dedent(program)),
        env=environment,
        cwd=installation.folder,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 90.0)
    assert process.returncode == code, err.decode()
    return out.decode(), err.decode()


async def published(installation: Installation) -> Counter[str]:
    """Return the number of outcomes that each runtime has on the topic."""
    messages = [r.message for r in await installation.records(INVOCATIONS)]
    return Counter(str(message.runtime_id) for message in messages if isinstance(message, m.Invocation))


def settings_of(installation: Installation) -> Settings:
    told = {"bootstrap_servers": installation.kafka.bootstrap_servers, "topic_prefix": installation.kafka.topic_prefix}
    flags = {f"kafka.{name}": value for name, value in told.items()}
    return load_settings(environment={}, flags=flags | {"client.cache_dir": str(installation.folder / "cache")})


# -- fork --------------------------------------------------------------------------------------------
FORK = """
import os, sys
from crl_stream.client import Client

crl = Client(runtime_id="parent", exploration=0.0)
assert crl.resolver.wait_until_ready(60)
assert crl.publisher.flush(60)
for _ in range(3):
    with crl.invocation("fork", "task", default="v1"): pass     # may still wait when the fork comes
child = os.fork()
if child == 0:
    assert crl.publisher.runtime_id != "parent", crl.publisher.runtime_id
    for _ in range(5):
        with crl.invocation("fork", "task", default="v1"): pass
    assert crl.publisher.flush(60), crl.health()
    assert crl.publisher.stats.sent == 5
    print("forked", flush=True)
    sys.stdin.readline()
    assert crl.resolver.wait_for_epoch(sys.argv[1], sys.argv[2], 2, 60), crl.health()
    print(crl.resolver.resolve(sys.argv[1], sys.argv[2]).variant_id, flush=True)
    grandchild = os.fork()
    if grandchild == 0:
        with crl.invocation("fork", "task", default="v1"): pass
        assert crl.publisher.flush(60)
        os._exit(0)
    assert os.waitpid(grandchild, 0)[1] == 0
    crl.close()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
for _ in range(2):
    with crl.invocation("fork", "task", default="v1"): pass
assert crl.publisher.flush(60), crl.health()
assert crl.publisher.stats.sent == 5, crl.publisher.stats
assert crl.resolver.resolve(sys.argv[1], sys.argv[2]).variant_id == "better"
crl.close()
"""


async def test_a_forked_child_publishes_and_hears_of_a_change_and_so_does_its_parent(
    installation: Installation,
) -> None:
    await installation.worker()
    await installation.publish(*invocations("default", "S" * 3), *invocations("better", "S" * 5))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", FORK, AGENT, TASK),
        env=installation.environment() | {"XDG_CACHE_HOME": str(installation.folder)},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        async with asyncio.timeout(90.0):
            assert await process.stdout.readline() == b"forked\n"
            await installation.order(a_command(m.ActivateVariant, variant_id="better"))
            await installation.wait_for(ACTIVE_VARIANTS, m.ActiveVariant, lambda active: active.epoch == 2)
            process.stdin.write(b"\n")
            assert await process.stdout.readline() == b"better\n"
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    found = await published(installation)
    mine = {name: count for name, count in found.items() if name.startswith("parent")}
    assert sorted(mine.values()) == [1, 5, 5], "each process sent its outcomes once, under its own name"
    assert mine["parent"] == 5


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
async def test_children_of_multiprocessing_need_not_close_and_lose_nothing(
    installation: Installation, method: str
) -> None:
    (installation.folder / "pool.py").write_text(
        textwrap.dedent(
            """
            import multiprocessing, sys
            from crl_stream.client import Client

            crl = Client(runtime_id="pool")

            def work(number):
                with crl.invocation("pool", "task", default="v1"):
                    return number

            if __name__ == "__main__":
                context = multiprocessing.get_context(sys.argv[1])
                children = [context.Process(target=work, args=(number,)) for number in range(3)]
                for child in children: child.start()
                for child in children: child.join()
                assert [child.exitcode for child in children] == [0, 0, 0]
                work(4)
            """
        ),
        encoding="utf-8",
    )
    program = f"import runpy, sys; sys.argv = ['pool.py', {method!r}]; runpy.run_path('pool.py', run_name='__main__')"
    if method != "fork":
        # A child that is not forked imports the program, so the program must be a file.
        program = f"import subprocess, sys; sys.exit(subprocess.call([sys.executable, 'pool.py', {method!r}]))"
    await run(installation, program)
    assert sum((await published(installation)).values()) == 4


# -- the end of a script -----------------------------------------------------------------------------
ENDINGS = {
    "just ends": ("", 0),
    "raises": ("raise ValueError('the agent is broken')", 1),
    "exits": ("import sys; sys.exit(3)", 3),
    "is interrupted": ("raise KeyboardInterrupt", -2),
}


@pytest.mark.parametrize("ending", ENDINGS)
async def test_a_script_that_ends_without_closing_has_sent_everything(installation: Installation, ending: str) -> None:
    last, code = ENDINGS[ending]
    program = f"""
from crl_stream.client import Publisher
p = Publisher(runtime_id="short")
for i in range(100):
    p.invocation("exit", "t", "v1", "success")
{last}
"""
    _, err = await run(installation, program, code=code)
    assert await published(installation) == {"short": 100}
    assert "lost" not in err


async def test_the_same_through_the_guides_store(installation: Installation) -> None:
    await run(
        installation,
        """
        from crl_stream.guide.store import Store
        store = Store.connect()
        for number in range(50):
            store.record({"agent_name": "guide", "task_type": "t", "variant_id": "v1", "status": "success",
                          "runtime_id": "guide"})
        """,
    )
    assert await published(installation) == {"guide": 50}


async def test_a_client_that_is_not_closed_keeps_what_it_knows(installation: Installation) -> None:
    await installation.worker()
    await installation.publish(*invocations("default", "S" * 3))
    await installation.wait_for(ACTIVE_VARIANTS, m.ActiveVariant)
    program = f"""
from crl_stream.client import Client
crl = Client()
assert crl.resolver.wait_for_epoch({AGENT!r}, {TASK!r}, 1, 60)
"""
    await run(installation, program)
    out, _ = await run(
        installation,
        f"""
        from crl_stream.client import Resolver
        print(Resolver().resolve({AGENT!r}, {TASK!r}).source)
        """,
    )
    assert out.strip() in {"file", "live"}


async def test_without_a_kafka_the_end_of_a_script_is_held_up_for_two_seconds_and_says_what_is_lost(
    tmp_path: Path,
) -> None:
    nowhere = Installation("127.0.0.1:1", tmp_path)
    began = asyncio.get_running_loop().time()
    _, err = await run(
        nowhere,
        """
        from crl_stream.client import Client
        clients = [Client() for _ in range(3)]
        for crl in clients:
            with crl.invocation("a", "t"): pass
        """,
    )
    assert err.count("outcomes are lost: Kafka did not accept 1 of them") == 3
    # Two seconds, plus the start of Python, which is slow on a slow machine.
    assert asyncio.get_running_loop().time() - began < 10.0


# -- every exception at every await, on the real clients ---------------------------------------------
RAISED = [asyncio.CancelledError, SystemExit]
"""Exceptions that no part of aiokafka handles; ``tests/client/test_supervision.py`` tests all others."""


@pytest.mark.parametrize("kind", RAISED, ids=lambda kind: kind.__name__)
async def test_nothing_that_aiokafka_raises_keeps_outcomes_from_kafka_or_a_runtime_from_following(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, kind: type[BaseException]
) -> None:
    monkeypatch.setattr(background, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(background, "LONGEST_PAUSE", 0.002)
    thrown: dict[type, list[ThrownInto]] = {Following: [], Sending: []}

    def failing(of: type, attempt: Any, awaits: int) -> Any:
        async def fail(self: Any) -> None:
            """The first attempt fails at its first await, the second at its second, and so on."""
            tried = thrown[of]
            nth = len(tried) + 1 if len(tried) < awaits else 10**9
            tried.append(ThrownInto(attempt(self), nth, kind()))
            await tried[-1]

        return fail

    for of in (Following, Sending):
        monkeypatch.setattr(of, "attempt", failing(of, of.attempt, 8))  # type: ignore[attr-defined]
    await installation.worker()
    await installation.publish(*invocations("default", "S" * 3), *invocations("better", "S" * 5))

    def live(publisher: Publisher, resolver: Resolver) -> int:
        sent = 0
        while len(thrown[Sending]) <= 8:
            sent += publisher.invocation("thrown", "task", "v1", "success", runtime_id="thrown")
            assert eventually(lambda: len(thrown[Sending]) > 8, 0.05) or sent < 1_000
        assert publisher.flush(60.0), publisher.trouble
        assert eventually(lambda: len(thrown[Following]) > 8, 60.0)
        assert resolver.wait_for_epoch(AGENT, TASK, 1, 60.0)
        return sent

    client = Client(settings_of(installation), exploration=0.0)
    try:
        sent = await asyncio.to_thread(live, client.publisher, client.resolver)
        await installation.order(a_command(m.ActivateVariant, variant_id="better"))
        assert await asyncio.to_thread(client.resolver.wait_for_epoch, AGENT, TASK, 2, 60.0)
    finally:
        await asyncio.to_thread(client.close)
    messages = [r.message for r in await installation.records(INVOCATIONS)]
    # The topic also contains ticks and references to commands.
    ids = {one.invocation_id for one in messages if isinstance(one, m.Invocation) and one.agent_name == "thrown"}
    assert len(ids) == sent == client.publisher.stats.sent
