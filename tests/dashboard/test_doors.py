"""A one-time token opens the dashboard once, whoever asks at the same time; tokens and sessions end and are bounded."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest

from crl_stream.dashboard.web import doors as module
from crl_stream.dashboard.web.doors import MOST_SESSIONS, MOST_TOKENS, TOKEN_MINUTES, Doors, as_actor, is_actor
from crl_stream.dashboard.web.limits import RateLimit

NOW = 1_764_000_000_000
HOUR = 3_600_000


@pytest.fixture(params=["files", "memory"])
def doors(request: pytest.FixtureRequest, tmp_path: Path) -> Doors:
    return Doors(tmp_path / "doors" if request.param == "files" else None)


def test_a_token_opens_once_and_names_its_owner(doors: Doors) -> None:
    token = doors.mint("ada", NOW)
    assert doors.redeem(token, NOW + 1) == "ada"
    assert doors.redeem(token, NOW + 1) is None
    assert doors.redeem("guess", NOW) is None
    assert doors.redeem("", NOW) is None


def test_a_token_ends_after_some_minutes_and_a_session_after_its_hours(doors: Doors) -> None:
    assert doors.redeem(doors.mint("ada", NOW), NOW + TOKEN_MINUTES * 60_000) is None
    secret = doors.begin("ada", NOW)
    found = doors.session(secret, NOW + 12 * HOUR - 1)
    assert found is not None
    assert found.actor == "ada"
    assert len(found.csrf) > 30
    assert doors.session(secret, NOW + 12 * HOUR) is None
    doors.end(secret)
    assert doors.session(secret, NOW) is None


def test_two_who_use_one_token_at_the_same_time_do_not_both_get_in(tmp_path: Path) -> None:
    for _ in range(20):
        token = Doors(tmp_path / "doors").mint("ada", NOW)
        barrier, entered = threading.Barrier(4), list[str]()

        def try_it(token: str = token, barrier: threading.Barrier = barrier, entered: list[str] = entered) -> None:
            mine = Doors(tmp_path / "doors")
            barrier.wait()
            if (actor := mine.redeem(token, NOW)) is not None:
                entered.append(actor)

        threads = [threading.Thread(target=try_it) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert entered == ["ada"]


def test_a_token_made_by_another_process_works_and_sessions_survive_a_restart(tmp_path: Path) -> None:
    token = Doors(tmp_path / "doors").mint("ada", NOW)
    assert Doors(tmp_path / "doors").redeem(token, NOW) == "ada"
    secret = Doors(tmp_path / "doors").begin("ada", NOW)
    assert Doors(tmp_path / "doors").session(secret, NOW) is not None


def test_the_number_of_tokens_and_sessions_is_bounded_and_the_oldest_goes(doors: Doors) -> None:
    tokens = [doors.mint("ada", NOW + number) for number in range(MOST_TOKENS + 3)]
    assert [doors.redeem(token, NOW + 100) for token in tokens[:4]] == [None, None, None, "ada"]
    sessions = [doors.begin("ada", NOW + number) for number in range(MOST_SESSIONS + 3)]
    assert [doors.session(secret, NOW) is not None for secret in sessions[:4]] == [False, False, False, True]


def test_nobody_else_can_read_the_files_and_they_hold_no_secret_that_opens(tmp_path: Path) -> None:
    doors = Doors(tmp_path / "doors")
    secrets = [doors.mint("ada", NOW), doors.begin("ada", NOW)]
    assert stat.S_IMODE((tmp_path / "doors").stat().st_mode) == 0o700
    for path in (tmp_path / "doors").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        for secret in secrets:
            assert secret not in path.name
            assert secret not in path.read_text()


def test_a_folder_that_others_can_use_is_not_used(tmp_path: Path) -> None:
    folder = tmp_path / "doors"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    doors = Doors(folder)
    assert doors.redeem(doors.mint("ada", NOW), NOW) == "ada"
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"{", b'{"actor":1}', b"\xff"])
def test_a_broken_file_opens_nothing(content: bytes, tmp_path: Path) -> None:
    doors = Doors(tmp_path / "doors")
    secret = doors.begin("ada", NOW)
    [path] = (tmp_path / "doors").iterdir()
    path.write_bytes(content)
    assert doors.session(secret, NOW) is None
    assert doors.session(doors.begin("ada", NOW), NOW) is not None


@pytest.mark.parametrize("name", ["ada", "grace@example.com", "svc:deploy+1"])
def test_a_usual_name_is_an_actor(name: str) -> None:
    assert is_actor(name)
    assert as_actor(name) == name


@pytest.mark.parametrize("name", ["", "a b", "a\n", "é", "<b>", "x" * 101, "a\u202e"])
def test_any_other_name_is_not_and_can_be_made_one(name: str) -> None:
    assert not is_actor(name)
    assert is_actor(as_actor(name))


def test_attempts_come_back_with_time() -> None:
    now = [0.0]
    limit = RateLimit(burst=2, seconds=10.0, clock=lambda: now[0])
    assert [limit.allows("a"), limit.allows("a"), limit.allows("a"), limit.allows("b")] == [True, True, False, True]
    now[0] = 10.0
    assert [limit.allows("a"), limit.allows("a")] == [True, False]
    assert module.TOKEN_MINUTES == 15
