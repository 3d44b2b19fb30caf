"""Pages without a fleet: an address that leads nowhere, the form for the token, the topics being read."""

from __future__ import annotations

from crl_stream.dashboard.fleet import Fleet
from crl_stream.dashboard.pages.frame import Scene, bare_page, page
from crl_stream.dashboard.pages.viewer import Viewer


def missing_page(viewer: Viewer, now: int, what: str, hint: str, command: str = "") -> str:
    """Return a page for something that is not known: one sentence, what to do, and a command."""
    return bare_page(viewer, "missing.html", title="Not found", now=now, what=what, hint=hint, order=command)


def token_page(viewer: Viewer, now: int, *, why: str, refused: str = "") -> str:
    """Return the form for the token; ``why`` says why one is wanted, ``refused`` why the last one was not taken."""
    return bare_page(viewer, "token.html", title="Token", now=now, why=why, refused=refused)


def waiting_page(fleet: Fleet, viewer: Viewer, now: int) -> str:
    """Return the page for the time in which the topics are read for the first time; it fills itself."""
    return page(Scene(fleet=fleet, viewer=viewer, now=now, orders=[]), "waiting.html", title="Fleet", current="fleet")
