"""Who looks at a page, and where the pages are served."""

from __future__ import annotations

import msgspec


class Viewer(msgspec.Struct, frozen=True, kw_only=True):
    """The person in front of a page."""

    actor: str
    """The name under which commands are given."""
    may_act: bool
    """Whether the person may give commands; without this, a page only shows each command to copy."""
    csrf: str
    """What the script sends with every command, to prove that it comes from the page."""
    base: str = "/dashboard"
    """The path under which the pages are served, without a final slash."""
    environment: str = ""
    """The name of the installation, shown in the top bar."""
    stamp: str = ""
    """Which state of the fleet a page shows; the script gives it to the stream."""
    not_live: str = ""
    """Why the fleet is not live, as a sentence; empty while it is."""
    notice: str = ""
    """What happened to the topics themselves a short while ago, as a sentence; usually empty."""
