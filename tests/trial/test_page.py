"""The report page is one file that runs no script and loads nothing, whatever names and reasons the log contains."""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from html.parser import HTMLParser
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from crl_stream.core.policy import GUIDE
from crl_stream.settings.policy_file import profile_policy
from crl_stream.trial.comparison import Comparison, Input, Source
from crl_stream.trial.page import ROWS, page
from crl_stream.trial.record import Recorded
from crl_stream.visible import visible

from .recorded_logs import POLICIES, compared, record
from .test_comparison import COLLAPSE

EVIL = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</style><svg onload=alert(1)>",
    "</title><script src=//evil.example/x.js></script>",
    "javascript:alert(1)",
    "&lt;b&gt;&#x3c;",
    "\u202egnp.exe\u200b\x1b[2J\x00",
    "]]><!--",
]
evil = st.sampled_from(EVIL) | st.text(max_size=40)


class Parsed(HTMLParser):
    """The elements of a page with their attributes, and its text."""

    def __init__(self, content: bytes) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._style = False
        self.style = ""
        self.feed(content.decode())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._style = tag == "style"

    def handle_endtag(self, tag: str) -> None:
        self._style = False

    def handle_data(self, data: str) -> None:
        if self._style:
            self.style += data
        else:
            self.text += data

    @property
    def shape(self) -> list[tuple[str, list[str]]]:
        return [(tag, sorted(attributes)) for tag, attributes in self.elements]


def a_comparison() -> Comparison:
    return compared(record(COLLAPSE), GUIDE, profile_policy("production"))


def renamed(comparison: Comparison, name: str) -> Comparison:
    """Return the comparison with ``name`` in place of every text that someone else has written."""
    tasks = []
    for task in comparison.tasks:
        fresh: dict[int, Any] = {}

        def of(placed: Any, fresh: dict[int, Any] = fresh) -> Any:
            if placed is None:
                return None
            if id(placed) not in fresh:
                number, one = placed
                fields = {"from_variant": name, "to_variant": name, "reason": name, "name": name}
                fresh[id(placed)] = number, one._replace(**fields)
            return fresh[id(placed)]

        task.traffic.names[:] = [name for _ in task.traffic.names]
        tasks.append(
            task._replace(
                task=name,
                against=[of(placed) for placed in task.against],
                policy=[of(placed) for placed in task.policy],
                changes=[c._replace(against=of(c.against), policy=of(c.policy)) for c in task.changes],
                stretches=[s._replace(against=name, policy=name) for s in task.stretches],
                active=tuple([(start, name) for start, _ in spans] for spans in task.active),
            )
        )
    said = [(name, one) for task in tasks for _, one in task.against[:1]]
    return comparison._replace(
        against=comparison.against._replace(label=name),
        policy=comparison.policy._replace(label=name),
        source=Input("topics", name, "0" * 64, 5, *["2025-11-19T14:30Z"] * 2, [Source(0, 3, 9, "0" * 64)]),
        tasks=tasks,
        recorded=Recorded(5, said, said, [name]),
    )


@settings(max_examples=40)
@given(evil)
def test_a_name_changes_the_text_of_the_page_and_nothing_else(name: str) -> None:
    plain, found = (Parsed(page(renamed(a_comparison(), one))) for one in ("a/b", name))
    assert without_room(found.shape) == without_room(plain.shape)
    assert found.style == plain.style
    allowed = {"main", "div", "section", "header", "h1", "h2", "h3", "p", "span", "b", "code", "dl", "dt", "dd", "ul"}
    allowed |= {"html", "head", "body", "meta", "link", "title", "style", "li", "table", "thead", "tbody", "tr", "th"}
    allowed |= {"td", "details", "summary", "wbr", "svg", "g", "path", "rect", "line", "circle", "text"}
    assert {tag for tag, _ in found.elements} <= allowed
    assert not [key for _, given in found.elements for key in given if key.startswith("on") or key in {"style", "src"}]
    assert {given["href"] for _, given in found.elements if "href" in given} == {"data:,"}
    if name.strip():
        assert visible(name) in found.text


def without_room(shape: list[Any]) -> list[Any]:
    """Leave out elements whose presence depends on the length of a name, such as a variant's label in its lane."""
    return [one for one in shape if one[0] not in {"text", "span", "b"}]


@given(evil)
@settings(max_examples=20)
def test_no_invisible_character_of_a_log_reaches_the_page(name: str) -> None:
    content = page(renamed(a_comparison(), name)).decode()
    assert [c for c in content if not c.isprintable() and c != "\n"] == []


def test_the_page_may_use_only_its_own_style_sheet_and_asks_for_nothing() -> None:
    content = page(a_comparison())
    found = Parsed(content)
    [policy] = [given["content"] for tag, given in found.elements if given.get("http-equiv")]
    digest = b64encode(hashlib.sha256(found.style.encode()).digest()).decode()
    assert policy is not None
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}';")
    assert "unsafe" not in policy
    assert re.findall(rb"https?:|url\(|@import|<script|<iframe|<object", content) == []


def test_equal_comparisons_give_equal_bytes() -> None:
    driver = record(COLLAPSE)
    one, other = (compared(driver, GUIDE, profile_policy("production")) for _ in range(2))
    assert page(one) == page(other)


def test_the_page_states_every_change_with_both_outcomes_and_its_reason() -> None:
    comparison = a_comparison()
    text = Parsed(page(comparison)).text
    changes = [change for task in comparison.tasks for change in task.changes]
    assert changes
    for change in changes:
        assert change.decided.words in text
        assert visible(change.decided.reason) in text


def test_a_page_about_very_many_changes_stays_small_and_says_what_it_leaves_out() -> None:
    story = [("t1", "a", "S" * 8, None), *[("t1", "a", "SSSFFFFSSS", None)] * 400]
    comparison = compared(record(story), POLICIES[6], POLICIES[2])
    count = sum(len(task.changes) for task in comparison.tasks)
    assert count > ROWS
    content = page(comparison)
    assert f"{count - ROWS} further rows are left out here".encode() in content
    assert len(content) < 1_000_000


def test_a_comparison_without_any_record_is_a_page_too() -> None:
    empty = compared(record([]), GUIDE, POLICIES[1])
    assert b"No decision differs: neither policy decides anything about this log." in page(empty)
