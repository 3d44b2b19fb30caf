"""Drives Chromium for a test: reads one JSON request a line, answers with one JSON line. Runs in .venv-browser."""

from __future__ import annotations

import base64
import json
import sys
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Error, Page, sync_playwright

SHIFTS = """
window.__shift = 0;
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.__shift += entry.value;
}).observe({ type: "layout-shift", buffered: true });
"""
AXE = """async () => {
  const found = await axe.run(document, { resultTypes: ["violations"] });
  const where = (nodes) => nodes.slice(0, 3).map((n) => n.target.join(" ")).join(" | ");
  return found.violations.map((v) => `${v.id}: ${v.help}: ${where(v.nodes)}`);
}"""
WAIT_MS = 20_000


class Looker:
    """One browser; each ``open`` begins with a new context."""

    def __init__(self, browser: Browser, axe: str) -> None:
        self._browser, self._axe = browser, axe
        self._context: BrowserContext | None = None
        self._page: Page | None = None
        self._errors: list[str] = []

    @property
    def page(self) -> Page:
        assert self._page is not None
        return self._page

    def open(self, width: int = 1440, height: int = 900, scheme: str = "light", motion: str = "reduce") -> None:
        if self._context is not None:
            self._context.close()
        self._errors = []
        self._context = self._browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme=scheme,  # type: ignore[arg-type]
            reduced_motion=motion,  # type: ignore[arg-type]
            has_touch=width < 720,
            permissions=["clipboard-read", "clipboard-write"],
        )
        self._context.add_init_script(SHIFTS)
        self._page = self._context.new_page()
        self._page.set_default_timeout(WAIT_MS)
        self._page.on("console", lambda m: self._errors.append(m.text) if m.type in {"error", "warning"} else None)
        self._page.on("pageerror", lambda error: self._errors.append(str(error)))

    def scheme(self, name: str) -> None:
        """Let the system switch to ``light`` or ``dark`` while the page is open."""
        self.page.emulate_media(color_scheme=name)  # type: ignore[arg-type]

    def goto(self, url: str) -> int:
        answer = self.page.goto(url)
        return 0 if answer is None else answer.status

    def click(self, at: str) -> None:
        self.page.click(at)

    def fill(self, at: str, text: str) -> None:
        self.page.fill(at, text)

    def press(self, key: str) -> None:
        self.page.keyboard.press(key)

    def text(self, at: str) -> str:
        return self.page.inner_text(at)

    def wait(self, script: str, seconds: float = WAIT_MS / 1_000) -> None:
        """Wait until a JavaScript expression is true; Playwright's own wait needs eval, which the policy forbids."""
        until = time.monotonic() + seconds
        while not self._is_true(script):
            assert time.monotonic() < until, (
                f"never true: {script}; the page says: {self.page.inner_text('body')[:2000]}"
            )
            self.page.wait_for_timeout(30)

    def _is_true(self, script: str) -> bool:
        try:
            return bool(self.page.evaluate(script))
        except Error as error:
            if "context was destroyed" in str(error) or "navigat" in str(error):
                return False  # the page is being replaced
            raise

    def run(self, script: str) -> Any:
        return self.page.evaluate(script)

    def shot(self, path: str, *, full: bool = False) -> None:
        self.page.screenshot(path=path, full_page=full)

    def picture(self, path: str, quality: int = 60) -> None:
        """Write what is shown as a small WebP file, which Playwright itself cannot."""
        assert self._context is not None
        given = {"format": "webp", "quality": quality}
        found = self._context.new_cdp_session(self.page).send("Page.captureScreenshot", given)
        Path(path).write_bytes(base64.b64decode(found["data"]))

    def errors(self) -> list[str]:
        found, self._errors = self._errors, []
        return found

    def violations(self) -> list[str]:
        """Return what axe-core finds; it is put into the page past the content security policy."""
        assert self._context is not None
        self.page.evaluate(self._axe)
        found: list[str] = self.page.evaluate(AXE)
        return found


def main() -> None:
    chromium, axe = sys.argv[1:]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--force-color-profile=srgb"]
        )
        looker = Looker(browser, Path(axe).read_text(encoding="utf-8"))
        print(json.dumps({"result": "ready"}), flush=True)
        for line in sys.stdin:
            asked = json.loads(line)
            try:
                result = getattr(looker, asked["do"])(*asked["args"], **asked["more"])
                print(json.dumps({"result": result}), flush=True)
            except (Error, AssertionError, AttributeError) as error:
                print(json.dumps({"error": f"{type(error).__name__}: {error}"}), flush=True)
        browser.close()


if __name__ == "__main__":
    main()
