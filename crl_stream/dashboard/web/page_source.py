"""The pages that the routes serve."""

from __future__ import annotations

from html import escape

from crl_stream.core.identity import TaskKey
from crl_stream.dashboard.fleet import Fleet
from crl_stream.dashboard.pages.viewer import Viewer


class PageSource:
    """A minimal stand-in until the real pages are there."""

    def fleet(self, fleet: Fleet, viewer: Viewer, now: int, *, parts: bool = False) -> str:
        """Return the page of the fleet."""
        rows = "".join(f"<li>{escape(str(key))}" for key in fleet.tasks)
        return f"<!doctype html><html data-stamp='{viewer.stamp}' data-csrf='{viewer.csrf}'><title>Fleet</title><ul>{rows}</ul>"

    def task(self, fleet: Fleet, key: TaskKey, viewer: Viewer, now: int) -> str:
        """Return the page of a task."""
        return f"<!doctype html><title>{escape(str(key))}</title>"

    def rollback(self, fleet: Fleet, rollback_id: str, viewer: Viewer, now: int) -> str:
        """Return the page of a rollback."""
        return f"<!doctype html><title>{escape(rollback_id)}</title>"

    def review(self, fleet: Fleet, viewer: Viewer, now: int) -> str:
        """Return the review queue."""
        return "<!doctype html><title>Review</title>"

    def sign_in(self, base: str, *, with_token: bool) -> str:
        """Return the page for somebody who is not signed in."""
        form = f"<form method=post action={base}/enter><input name=name><input name=token type=password></form>"
        return f"<!doctype html><title>Sign in</title>{form if with_token else ''}"

    def once_more(self, base: str) -> str:
        """Return a page that asks for itself again."""
        return "<!doctype html><title>One moment</title><meta http-equiv=refresh content=0>"

    def trouble(self, base: str, status: int, error: str, hint: str) -> str:
        """Return a page that says what is wrong."""
        return f"<!doctype html><title>{status}</title><p>{escape(error)}<p>{escape(hint)}"
