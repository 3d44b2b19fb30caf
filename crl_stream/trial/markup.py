"""Builds HTML and SVG in which no text can become markup: everything is escaped except what was built here."""

from __future__ import annotations

from html import escape
from typing import Final

from crl_stream.visible import visible

EMPTY: Final = frozenset(("br", "circle", "hr", "line", "link", "meta", "path", "rect"))
"""Elements without content."""

_SAY_IT: Final = frozenset(("decision", "change"))


class Markup(str):
    """Text that is markup already."""

    __slots__ = ()


def text(value: object) -> Markup:
    """Return a value as text, with markup and invisible characters escaped."""
    return value if isinstance(value, Markup) else Markup(escape(visible(str(value))))


def join(*parts: object) -> Markup:
    """Return the parts one after the other, escaped unless they are markup."""
    return Markup("".join(map(text, parts)))


def element(tag: str, /, *content: object, **attributes: object) -> Markup:
    """Return an element; an attribute that is None is left out.

    In the names of attributes, ``_`` stands for ``-``, and is dropped at the end: ``class_``, ``aria_label``.
    """
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(visible(str(value)))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if tag in EMPTY:
        return Markup(f"<{tag}{given}/>")
    return Markup(f"<{tag}{given}>{join(*content)}</{tag}>")


def table(columns: tuple[str, ...], rows: list[tuple[object, ...]], *, numbers: int = 0) -> Markup:
    """Return a table; its last ``numbers`` columns hold numbers. Each cell names its column, for narrow screens.

    Cells of the columns ``decision`` and ``change`` need no such name.
    """
    first = len(columns) - numbers
    kinds = [None if at < first else "num" for at in range(len(columns))]
    head = join(*(element("th", name, class_=kind, scope="col") for name, kind in zip(columns, kinds, strict=True)))
    body = [
        element(
            "tr",
            *(
                element("td", cell, class_=kind, data_l=None if name in _SAY_IT else name)
                for cell, name, kind in zip(row, columns, kinds, strict=True)
            ),
        )
        for row in rows
    ]
    return element("table", element("thead", element("tr", head)), element("tbody", *body))
