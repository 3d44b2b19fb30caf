"""Every command has a help text, and no mistake causes a traceback."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys

import pytest

from cli.program import Program, commands, groups
from crl_stream.cli.command_table import PLACES

WITHOUT_KAFKA = {
    "archive",
    "broker start",
    "broker status",
    "broker stop",
    "down",
    "config init",
    "config show",
    "config trust",
    "config validate",
    "notify list",
    "notify test",
    "topology",
}
STARTS_ITS_OWN = {"demo", "up"}
"""Commands that start a Kafka if no address is given."""
CALLS = {
    "activate": "a/t v",
    "calibrate": "a/t",
    "confirm": "rollback-1",
    "dead-letters replay": "0:1",
    "dead-letters show": "0:1",
    "explain": "rb-1",
    "export": "outcomes",
    "hold": "a/t",
    "notify test": "ops",
    "pin": "a/t",
    "proposals approve": "prop-1",
    "proposals defer": "prop-1",
    "proposals export": "--format csv",
    "proposals reject": "prop-1 --reason no",
    "proposals show": "prop-1",
    "propose": "a/t v",
    "publish": "a/t --variant v --timeout 0.2",
    "quarantine lift": "a/t v",
    "register": "a/t v",
    "resume": "a/t",
    "rollbacks show": "rb-1",
    "rollout abort": "a/t",
    "rollout pause": "a/t",
    "rollout promote": "a/t",
    "rollout resume": "a/t",
    "rollout start": "a/t v",
    "retire": "a/t v",
    "accept": "a/t",
    "sync": "--to variants.json --once --timeout 0.2",
    "undo": "a/t",
    "unpin": "a/t",
    "why-not": "a/t",
    "window": "a/t",
}
"""Arguments for a valid call of each command that needs any."""

WRONG = [
    "",
    "archive --older-than soon",
    "archive --older-than 5",
    "archive more",
    "no-such-command",
    "broker no-such-command",
    "--config",
    "--config nowhere.toml config show",
    "--set config show",
    "--set nonsense=1 config show",
    "--set kafka.partitions=0 topics diff",
    "--set kafka.partitions config show",
    "activate a/t",
    "sync",
    "sync --to nowhere/variants.json",
    "sync --to -",
    "sync --to home",
    "sync --to variants.json --format toml",
    "sync --to variants.json --timeout -1",
    "activate a v",
    "activate a/t v --epoch soon",
    "broker start --port 0",
    "calibrate",
    "calibrate a",
    "calibrate a/t --plot plot.png -f nowhere.jsonl",
    "calibrate a/t --plot nowhere/plot.svg -f nowhere.jsonl",
    "calibrate a/t --policy nowhere.toml -f nowhere.jsonl",
    "calibrate a/t --tasks 0",
    "calibrate a/t --budget nan -f nowhere.jsonl",
    "calibrate a/t --budget -1",
    "calibrate a/t --falls inf -f nowhere.jsonl",
    "calibrate a/t -f nowhere.jsonl",
    "calibrate a/t -f home",
    "broker start --port 65536",
    "broker start --port http",
    "config init home",
    "dashboard --at yesterday",
    "dashboard --web --json",
    "dashboard --link --web",
    "export",
    "export nothing",
    "export outcomes --format xml",
    "export outcomes --json",
    "export outcomes --restart",
    "export outcomes --since soon",
    "export outcomes --since 1d --until 2d",
    "export outcomes --task a",
    "export outcomes --task a/t --agent a",
    "dashboard --at 2025-02-31T00:00:00Z",
    "config init --profile no-such-profile",
    "config init nowhere/crl.toml",
    "config show more",
    "config validate nowhere.toml",
    "config validate home",
    "dead-letters list --limit 0",
    "dead-letters list --reason no-such-reason",
    "dead-letters replay",
    "dead-letters replay 7",
    "dead-letters replay 0:1 --reason not_json",
    "dead-letters replay --reason no-such-reason",
    "dead-letters replay --since soon",
    "dead-letters replay --topic crl.tasks",
    "dead-letters show 7",
    "dead-letters show 0:x",
    "drill --partition -1",
    "drill --partition 0 --all-partitions",
    "drill --timeout 0",
    "explain",
    "hold a/t --hours long",
    "notify test",
    "pin a/b/c",
    "proposals defer prop-1 --until soon",
    "proposals export",
    "proposals export --format pdf",
    "proposals list --status opne",
    "proposals list --type improve",
    "proposals reject prop-1",
    "rollout start a/t v --stages five",
    "rollout start a/t v --stages 0,50",
    "rollout start a/t v --stages 5,100",
    "rollout start a/t v --outcomes 0",
    "rollout start a/t",
    "rollout promote",
    "propose",
    "propose a/t",
    "propose a/t v --configuration 7",
    "propose a/t v --configuration @nowhere.json",
    "propose a/t v --evidence []",
    "publish",
    "publish a/t",
    "publish a/t --variant v --file x.jsonl",
    "publish --file nowhere.jsonl",
    "publish --file home",
    "publish a/t --variant v --count 0",
    "register",
    "replay --order-by-time",
    "replay --policy nowhere.toml",
    "replay --html nowhere/page.html",
    "replay nowhere.jsonl",
    "replay home",
    "rollbacks --limit none",
    "status --watch",
    "status --watch --json",
    "tail no-such-topic",
    "tail --count 0",
    "topology --json --mermaid",
    "topology monitor",
    "why-not",
    "why-not a",
    "window a",
]


LOADED = """
import sys
from crl_stream.cli import main
try:
    main(sys.argv[1:])
finally:
    print(*sys.modules, file=sys.stderr)
"""


def full(name: str) -> list[str]:
    return [*name.split(), *CALLS.get(name, "").split()]


@pytest.fixture
def closed_port() -> int:
    """Return a port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_the_lists_below_speak_of_commands_that_exist() -> None:
    names = {" ".join(path) for path in commands()}
    assert WITHOUT_KAFKA | STARTS_ITS_OWN | CALLS.keys() <= names


def test_every_command_and_every_group_of_them_explains_itself(crl: Program) -> None:
    results = crl.run_all([[*path, "--help"] for path in sorted({*commands(), *groups()})])
    assert [r for r in results if r.code or r.err or not r.out.startswith("Usage: ")] == []
    assert [r.call for r in results if "--help" not in r.out] == []


def test_what_a_command_reports_is_there_as_json(crl: Program) -> None:
    results = crl.run_all([[*path, "--help"] for path in commands()])
    without = {" ".join(r.call[:-1]) for r in results if "--json" not in r.out}
    # They only run.
    assert without == {"sync", "up", "worker"}


def test_the_first_help_says_what_every_exit_code_means(crl: Program) -> None:
    help_text = " ".join(crl.run("-h").out.split())
    for code in (0, 1, 2, 3, 4, 5, 6, 69, 70, 75, 78, 130):
        assert f" {code} " in help_text


def test_an_option_that_does_not_exist_is_wrong_usage_of_every_command(crl: Program) -> None:
    results = crl.run_all([[*full(" ".join(path)), "--no-such-option"] for path in commands()])
    assert {r.call: r.faults(2) for r in results if r.faults(2)} == {}


def test_wrong_usage_is_answered_with_a_sentence_a_hint_and_code_2(crl: Program) -> None:
    results = crl.run_all([shlex.split(call) for call in WRONG if call])
    assert {r.call: r.faults(2) for r in results if r.faults(2)} == {}


def test_a_call_without_a_command_shows_what_there_is(crl: Program) -> None:
    for group in sorted(groups()):
        result = crl.run(*group)
        assert result.code in {0, 2}
        assert "Commands:" in result.out + result.err or "Look:" in result.out + result.err
        assert "Traceback" not in result.err
        assert "crl: Usage" not in result.err, "help is not an error"


def test_without_any_kafka_every_command_that_needs_one_says_how_to_get_it(crl: Program) -> None:
    names = {" ".join(path) for path in commands()} - WITHOUT_KAFKA - STARTS_ITS_OWN
    results = crl.run_all([full(name) for name in sorted(names)])
    assert {r.call: r.faults(69) for r in results if r.faults(69)} == {}
    assert [r.call for r in results if "crl up" not in r.err] == []


def test_with_nobody_at_the_given_address_every_command_says_so_and_names_it(crl: Program, closed_port: int) -> None:
    crl.environment |= {"CRL_BOOTSTRAP_SERVERS": f"127.0.0.1:{closed_port}", "CRL_WORKER_WEB_PORT": str(closed_port)}
    names = {" ".join(path) for path in commands()} - WITHOUT_KAFKA
    results = crl.run_all([full(name) for name in sorted(names)])
    assert {r.call: r.faults(69) for r in results if r.faults(69)} == {}
    unnamed = [r.call for r in results if str(closed_port) not in r.err]
    assert unnamed == []
    # Library messages about the closed port appear only with -v, even where a worker logs.
    talkative = {r.call[0]: r.err for r in results if len(r.err.splitlines()) > 2}
    assert talkative.keys() == {"publish", "up"}
    assert talkative["up"].startswith("profile guide (the default")
    assert talkative["publish"].startswith("publishing ...\ncrl: ")


def test_a_file_that_does_not_fit_in_memory_at_once_is_given_up_when_kafka_takes_nothing(
    crl: Program, closed_port: int
) -> None:
    crl.environment |= {"CRL_BOOTSTRAP_SERVERS": f"127.0.0.1:{closed_port}"}
    result = crl.run("publish", "a/t", "--variant", "v", "--count", "20000", "--timeout", "0.2")
    assert result.faults(69) == []
    assert f"Kafka at 127.0.0.1:{closed_port} accepted 0 of 20000 messages: " in result.err
    assert "crl topics diff" in result.err


def test_an_embedded_broker_that_does_not_run_is_not_found(crl: Program) -> None:
    for result in crl.run_all([["broker", "status"], ["broker", "stop"], ["broker", "status", "--json"]]):
        assert result.faults(4) == []


def test_ctrl_c_ends_a_command_in_one_line_with_code_130(crl: Program) -> None:
    fifo = crl.folder / "never-ending.jsonl"
    os.mkfifo(fifo)
    process = crl.start("replay", fifo.name)
    # open() returns once the command has opened its end; the command then reads, and waits for input.
    with fifo.open("wb"):
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    assert process.returncode == 130
    assert err.decode() == "crl: Interrupted.\n"


@pytest.mark.parametrize(("call", "needed"), [("--version", set()), ("worker --help", {"worker"})])
def test_what_a_call_does_not_need_is_not_loaded(crl: Program, call: str, needed: set[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *call.split()],
        cwd=crl.folder,
        env=crl.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(done.stderr.split())
    # pydantic may be loaded, because typer uses it to read arguments.
    assert loaded & {"aiohttp", "aiokafka", "asyncio", "faust", "msgspec", "crl_stream.settings"} == set()
    modules = {place.partition(":")[0] for place in PLACES.values()}
    assert {name for name in modules if f"crl_stream.cli.{name}" in loaded} == needed
