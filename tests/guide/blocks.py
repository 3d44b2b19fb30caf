"""The fenced blocks of the guide, by the heading above them."""

from __future__ import annotations

import re
from functools import cache
from typing import Any, NamedTuple

from guide.world import GUIDE

IMPORT_ROOT = ("from core.", "from crl_stream.guide.")
"""The only change made to an example: the start of its imports, and the replacement."""


class Block(NamedTuple):
    """One fenced block."""

    heading: str
    language: str
    line: int
    """Line of the opening fence, counted from 1."""
    text: str


@cache
def blocks() -> tuple[Block, ...]:
    found, heading, opened, language, body = [], "", 0, "", list[str]()
    for number, line in enumerate(GUIDE.read_text(encoding="utf-8").splitlines(), start=1):
        if not opened and (fence := re.fullmatch(r"```(\w*)", line)):
            opened, language, body = number, fence[1], []
        elif opened and line == "```":
            found.append(Block(heading, language, opened, "\n".join(body) + "\n"))
            opened = 0
        elif opened:
            body.append(line)
        elif title := re.fullmatch(r"#+ (.*)", line):
            heading = title[1]
    return tuple(found)


def block(heading: str, language: str = "python") -> Block:
    """Return the only block in this language whose heading begins with ``heading``."""
    [found] = [b for b in blocks() if b.heading.startswith(heading) and b.language == language]
    return found


def run(heading: str, **names: Any) -> dict[str, Any]:
    """Run the example under a heading unchanged; ``names`` supplies the names that the guide leaves undefined."""
    example = block(heading)
    space = {"__name__": "example", **names}
    exec(compile(example.text.replace(*IMPORT_ROOT), f"guide, line {example.line}", "exec"), space)  # noqa: S102
    return space
