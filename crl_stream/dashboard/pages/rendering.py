"""Turns a template and values into HTML.

Every value is escaped, and control and invisible characters are shown as escapes: names, reasons and texts come from
strangers.  A template that names an unknown value fails instead of leaving a gap.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from crl_stream.core.figures import number
from crl_stream.core.identity import TaskKey
from crl_stream.core.instant import readable
from crl_stream.dashboard.pages import marks, phrases
from crl_stream.visible import visible

FOLDER: Final = Path(__file__).resolve().parent.parent
TEMPLATES: Final = FOLDER / "templates"
STATIC: Final = FOLDER / "static"
"""The folder of the style sheet, the script and the chart library, to be served as it is."""


def render(template: str, **values: Any) -> str:
    """Render a template with these values."""
    return _environment().get_template(template).render(values | {"page_name": template.removesuffix(".html")})


def shown(value: Any) -> Any:
    """Return a value as a page shows it: text without invisible characters, its instants to the second."""
    return readable(visible(value)) if isinstance(value, str) and not isinstance(value, Markup) else value


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=shown,
    )
    environment.globals |= {
        "icon": marks.icon,
        "strip": marks.strip,
        "pips": marks.pips,
        "onset": marks.onset,
        "spark": marks.spark,
        "at": phrases.at,
        "ago": phrases.ago,
        "plural": phrases.plural,
        "percent": phrases.percent,
        "number": number,
        "lines_of": _lines,
        "task_name": _task_name,
    }
    return environment


def _lines(text: str) -> list[str]:
    """Return the lines of a text of several lines; what only looks like a line end stays in its line."""
    return text.split("\n")


def _task_name(key: TaskKey) -> Markup:
    return Markup('<span class="agent">{}/</span><b>{}</b>').format(visible(key.agent_name), visible(key.task_type))
