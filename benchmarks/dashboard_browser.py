"""Measures the pages in a real Chromium.  Runs in its own process, in ``.venv-browser``.

    python -m benchmarks.dashboard_browser CHROMIUM     # reads a JSON request a line, answers with a JSON line

An answer is ``{"result": ...}`` or ``{"error": "..."}``.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from playwright.sync_api import Browser, BrowserContext, CDPSession, Error, Page, Response, sync_playwright

PAINT_SECONDS = 20.0
FIRST_SECONDS = 60.0
STILL_READING = 503
PAINTED = """() => {
  const paint = performance.getEntriesByName("first-contentful-paint")[0];
  const page = performance.getEntriesByType("navigation")[0];
  return paint && page.domContentLoadedEventEnd
    ? {paint: paint.startTime, answer: page.responseStart, whole: page.responseEnd, bytes: page.transferSize}
    : null;
}"""
# The times survive a reload of the page, which a new section on it causes.
OBSERVER = """
(() => {
  const kept = sessionStorage.getItem("seen");
  const seen = window.__seen = kept ? JSON.parse(kept) : {row: {}, feed: {}, list: {}};
  const note = (where, name) => {
    if (name in seen[where]) return;
    seen[where][name] = performance.timeOrigin + performance.now();
    sessionStorage.setItem("seen", JSON.stringify(seen));
  };
  const last = (link) => link.getAttribute("href").split("/").pop();
  document.addEventListener("DOMContentLoaded", () => {
    // The script begins after the first paint; until then a click on a head of the table does nothing.
    const sort = () => {
      document.querySelector('th button[data-s="task"]')?.click();
      if (!document.querySelector('th[aria-sort] button[data-s="task"]')) setTimeout(sort, 20);
    };
    sort();
    const look = () => {
      for (const row of document.querySelectorAll('tr[data-key^="AGENT/"]'))
        if (row.querySelector(".ep").textContent !== "epoch 1") note("row", row.dataset.key.split("/")[1]);
      const links = (where) => document.querySelectorAll(where);
      for (const link of links('[data-live="changes"] a[href*="/tasks/AGENT/"]')) note("feed", last(link));
      for (const link of links('#rbs a[href*="/rollbacks/"]')) note("list", last(link));
    };
    look();
    new MutationObserver(look).observe(document.body, {subtree: true, childList: true, characterData: true});
  });
})();
"""


class Measurer:
    """One browser; every method is a request."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._entrance: BrowserContext | None = None
        self._state: Any = None
        self._page: Page | None = None
        self._tools: CDPSession | None = None

    def enter(self, url: str) -> dict[str, Any]:
        """Open a one-time address; return the session's cookie and how long the first page of the process took.

        The process reads the topics first; a page that does not want to wait any longer is loaded again.
        """
        context = self._browser.new_context()
        page = context.new_page()
        page.set_default_timeout(60_000)
        began = time.monotonic()
        answer = page.goto(url)
        while (answer is None or answer.status == STILL_READING) and time.monotonic() - began < FIRST_SECONDS:
            answer = page.goto(page.url)
        _right(answer)
        _painted(page)
        seconds = time.monotonic() - began
        self._state = context.storage_state()
        context.close()
        [cookie] = self._state["cookies"]
        return {"cookie": f"{cookie['name']}={cookie['value']}", "seconds": seconds}

    def loads(self, url: str, count: int) -> dict[str, list[dict[str, float]]]:
        """Load a page: each time with an empty cache, then again, then a page of one word, the yardstick."""
        found: dict[str, list[dict[str, float]]] = {"empty cache": [], "again": [], "a page of one word": []}
        for _ in range(count):
            context = self._context()
            page = context.new_page()
            for kind, times in found.items():
                answer = page.goto("data:text/html,<p>word" if kind == "a page of one word" else url)
                if answer is not None:
                    _right(answer)
                times.append(_painted(page))
            context.close()
        return found

    def watch(self, url: str, agent: str) -> dict[str, float]:
        """Open a page that stays open, and note when tasks of ``agent`` change on it; return its memory."""
        context = self._context()
        context.add_init_script(OBSERVER.replace("AGENT", agent))
        self._page = context.new_page()
        _right(self._page.goto(url))
        self._tools = context.new_cdp_session(self._page)
        self._tools.send("Performance.enable")
        _until(self._page, "() => document.querySelector('.live b').textContent === 'Live' || null")
        return self.memory()

    def seen(self) -> Any:
        """Return when each change was first on the page, in milliseconds since the epoch."""
        assert self._page is not None
        return self._page.evaluate("window.__seen")

    def memory(self) -> dict[str, float]:
        """Return what the open page uses after a collection of garbage."""
        assert self._tools is not None
        self._tools.send("HeapProfiler.collectGarbage")
        found = {one["name"]: one["value"] for one in self._tools.send("Performance.getMetrics")["metrics"]}
        return {"heap_megabytes": found["JSHeapUsedSize"] / 1e6, "nodes": found["Nodes"]}

    def version(self) -> str:
        """Return the browser's version."""
        return self._browser.version

    def _context(self) -> BrowserContext:
        return self._browser.new_context(storage_state=self._state, viewport={"width": 1440, "height": 900})


def _right(answer: Response | None) -> None:
    assert answer is not None, "the browser reports no answer for the page"
    assert answer.status == 200, f"{answer.url} answered with {answer.status}"


def _painted(page: Page) -> dict[str, float]:
    times: dict[str, float] = _until(page, PAINTED)
    return times


def _until(page: Page, script: str) -> Any:
    """Return what a script returns as soon as it returns something."""
    until = time.monotonic() + PAINT_SECONDS
    while (found := page.evaluate(script)) is None:
        assert time.monotonic() < until, f"nothing within {PAINT_SECONDS:.0f} s: {script}"
        page.wait_for_timeout(20)
    return found


def main() -> None:
    """Answer requests until standard input ends."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=sys.argv[1], args=["--no-sandbox"])
        measurer = Measurer(browser)
        print(json.dumps({"result": measurer.version()}), flush=True)
        for line in sys.stdin:
            asked = json.loads(line)
            try:
                print(json.dumps({"result": getattr(measurer, asked["do"])(*asked["with"])}), flush=True)
            except (Error, AssertionError) as error:
                print(json.dumps({"error": f"{type(error).__name__}: {error}"}), flush=True)
        browser.close()


if __name__ == "__main__":
    main()
