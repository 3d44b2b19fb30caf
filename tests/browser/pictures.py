"""Takes the pictures of docs/dashboard: every page and state, light and dark, 1440 and 390 wide.

``python -m pytest tests/browser/pictures.py`` takes them; ``CRL_PICTURES`` names the folder (default: docs/dashboard).
Look at each picture before you commit it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from source_tree import ROOT

from browser.chromium import Chromium, chromium
from browser.fleets import Teller
from browser.serving import Served, serving
from browser.test_pages import ROLLED_BACK, enter, paths_of
from crl_stream.core import messages as m
from crl_stream.dashboard.web.limits import RateLimit

pytestmark = pytest.mark.browser
FOLDER = Path(os.environ.get("CRL_PICTURES", ROOT / "docs" / "dashboard"))
WIDE, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
LOOKS = [(end, size, scheme) for end, size in (("", WIDE), ("-phone", PHONE)) for scheme in ("light", "dark")]


@pytest.fixture(autouse=True)
def many_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the folder of the pictures, and let one browser sign in for each of them."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    monkeypatch.setattr(RateLimit, "allows", lambda *_: True)


async def take(browser: Chromium, name: str) -> None:
    """Take a picture of what is shown, as a small file."""
    await asyncio.sleep(0.4)  # charts and fonts
    await browser.picture(str(FOLDER / f"{name}.webp"))


async def in_every_look(
    browser: Chromium, served: Served, name: str, path: str, then: Callable[[], Awaitable[None]] | None = None
) -> None:
    for end, size, scheme in LOOKS:
        await enter(browser, served, path, scheme=scheme, **size)
        if then is not None:
            await then()
        await take(browser, f"{name}{end}-{scheme}")


async def test_pictures_of_pages_and_dialogs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with chromium() as browser, serving(tmp_path, monkeypatch, 1_000) as served:
        for name, path in (await paths_of(served)).items():
            await in_every_look(browser, served, name, path)

        async def down() -> None:
            await browser.run("document.getElementById('tasks').scrollIntoView()")

        await in_every_look(browser, served, "tasks", "/", down)
        for name, path, opener in (
            ("dialog-stop-all", "/", ".bar [data-open=d-hold-all]"),
            ("dialog-undo", f"/tasks/{ROLLED_BACK}", "main [data-open=d-undo]"),
            ("dialog-register", f"/tasks/{ROLLED_BACK}", "main [data-open=d-register]"),
        ):

            async def open_it(at: str = opener) -> None:
                await browser.run("document.querySelectorAll('main details').forEach((one) => { one.open = true; })")
                await browser.click(at)

            await in_every_look(browser, served, name, path, open_it)


async def test_pictures_of_states(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with chromium() as browser, serving(tmp_path, monkeypatch, 120) as served:
        for name, stops in (("held", "all"), ("promotions-stopped", "promotions")):

            def stop(teller: Teller, stops: str = stops) -> None:
                teller.command(m.HoldAll, None, "priya", "the judge model returns zeros", hours=4.0, stops=stops)

            served.tell(stop)
            await in_every_look(browser, served, name, "/")
        served.tell(lambda teller: teller.command(m.ResumeAll, None, "priya", "it works again"))
        for end, size, scheme in LOOKS:
            served.hub.find()
            await enter(browser, served, "/", scheme=scheme, **size)
            served.hub.lose("Kafka does not answer")
            await browser.wait("document.querySelector('.live b').textContent === 'Not live'")
            await take(browser, f"not-live{end}-{scheme}")
    async with chromium() as browser, serving(tmp_path, monkeypatch, None) as served:
        await in_every_look(browser, served, "empty", "/")
        for end, size, scheme in LOOKS:
            await browser.open(scheme=scheme, **size)
            assert await browser.goto(f"{served.url}/dashboard/") == 401
            await take(browser, f"sign-in{end}-{scheme}")
