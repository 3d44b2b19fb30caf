"""The pages that the routes serve."""

from __future__ import annotations

from crl_stream.core.identity import TaskKey
from crl_stream.dashboard import pages
from crl_stream.dashboard.fleet import Fleet
from crl_stream.dashboard.pages.viewer import Viewer


class PageSource:
    """The pages of ``crl_stream.dashboard.pages``, as the routes ask for them."""

    def fleet(self, fleet: Fleet, viewer: Viewer, now: int, *, parts: bool = False) -> str:
        """Return the page of the fleet."""
        return pages.fleet_page(fleet, viewer, now, parts=parts)

    def task(self, fleet: Fleet, key: TaskKey, viewer: Viewer, now: int) -> str:
        """Return the page of a task."""
        return pages.task_page(fleet, key, viewer, now)

    def rollback(self, fleet: Fleet, rollback_id: str, viewer: Viewer, now: int) -> str:
        """Return the page of a rollback."""
        return pages.rollback_page(fleet, rollback_id, viewer, now)

    def review(self, fleet: Fleet, viewer: Viewer, now: int) -> str:
        """Return the review queue."""
        return pages.review_page(fleet, viewer, now)

    def sign_in(self, base: str, *, with_token: bool) -> str:
        """Return the page for somebody who is not signed in."""
        return pages.sign_in_page(base, with_token=with_token)

    def once_more(self, base: str) -> str:
        """Return a page that asks for itself again."""
        return pages.once_more_page(base)

    def trouble(self, base: str, status: int, error: str, hint: str) -> str:
        """Return a page that says what is wrong."""
        return pages.trouble_page(base, status, error, hint)
