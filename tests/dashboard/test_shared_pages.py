"""A page is rendered once for all who ask at the same time; each gets a copy with a name and secret of their own."""

from __future__ import annotations

import asyncio

import pytest

from crl_stream.dashboard.web import shared_pages
from crl_stream.dashboard.web.access import Caller
from crl_stream.dashboard.web.shared_pages import ANYONE, SharedPage

ADA, BOB = (Caller(name, f"secret of {name}", "session", 0) for name in ("ada", "bob"))


class Site:
    """A page whose version grows."""

    def __init__(self) -> None:
        self.version, self.rendered = 1, 0

    def make(self) -> tuple[str, int]:
        """Render the page for anyone."""
        self.rendered += 1
        return f"version {self.version} for {ANYONE.signed} with {ANYONE.csrf}", self.version


async def test_everybody_gets_a_copy_of_one_rendering_with_their_own_name_and_secret() -> None:
    site, shared = Site(), SharedPage()
    copies = await asyncio.gather(*(shared.copy("", 1, site.make, who) for who in (ADA, BOB, ADA)))
    assert site.rendered == 1
    assert copies[0] == copies[2] == "version 1 for web:ada with secret of ada"
    assert copies[1] == "version 1 for web:bob with secret of bob"


async def test_a_copy_has_every_change_that_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_pages, "EVERY_SECONDS", 0.01)
    site, shared = Site(), SharedPage()
    for version in range(1, 6):
        site.version = version
        copies = await asyncio.gather(*(shared.copy("", version, site.make, who) for who in (ADA, BOB)))
        assert all(copy.startswith(f"version {version} ") for copy in copies)
    assert site.rendered == 5


async def test_however_many_look_a_page_that_changes_all_the_time_is_not_rendered_all_the_time() -> None:
    site, shared = Site(), SharedPage()

    async def look(who: Caller) -> None:
        for _ in range(3):
            site.version += 1
            await shared.copy("", site.version, site.make, who)

    await asyncio.gather(*(look(Caller(str(number), "", "session", 0)) for number in range(20)))
    assert site.rendered <= 4


async def test_a_page_of_another_state_is_rendered_at_once() -> None:
    site, shared = Site(), SharedPage()
    for state in ("live", "lost", "live"):
        await shared.copy(state, 1, site.make, ADA)
    assert site.rendered == 3


async def test_a_page_is_shown_even_if_versions_count_from_the_start_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_pages, "EVERY_SECONDS", 0.01)
    site, shared = Site(), SharedPage()
    async with asyncio.timeout(5.0):
        copy = await shared.copy("topic made again", 5_000, site.make, ADA)
    assert copy.startswith("version 1 ")
    assert site.rendered == 1
