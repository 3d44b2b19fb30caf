"""Pages without a fleet: signing in, an address that leads nowhere, a fleet that is not known yet."""

from __future__ import annotations

from crl_stream.dashboard.pages.rendering import render
from crl_stream.dashboard.pages.viewer import Viewer


def sign_in_page(base: str, *, with_token: bool, refused: str = "") -> str:
    """Return the page for somebody who is not signed in.

    ``with_token`` says whether the installation has a token that opens the page; ``refused`` why the last one did not.
    """
    return render("token.html", title="Sign in", base=base, with_token=with_token, refused=refused)


def once_more_page(base: str) -> str:
    """Return a page that asks for itself again: a browser that followed a foreign link sends its cookie only then."""
    return render("once_more.html", title="One moment", base=base)


def trouble_page(base: str, status: int, error: str, hint: str, command: str = "") -> str:
    """Return a page for something that is not there: one sentence, what to do, perhaps a command.

    With status 503 it looks like the page that will come, and asks for itself every two seconds.
    """
    template = "waiting.html" if status == 503 else "missing.html"
    return render(
        template, title="Not yet" if status == 503 else "Not found", base=base, what=error, hint=hint, order=command
    )


def missing_page(viewer: Viewer, what: str, hint: str, command: str = "") -> str:
    """Return a page for something that the fleet does not know."""
    return trouble_page(viewer.base, 404, what, hint, command)


def one_moment(name: str) -> str:
    """Return an empty page for the script of a page that shows one moment, so that nothing is read from Kafka again."""
    return f'<!doctype html><html data-page="{name}"></html>'
