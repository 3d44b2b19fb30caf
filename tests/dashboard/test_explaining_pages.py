"""The pages of explain and why-not: every kind of answer renders, and nothing of a stranger's text is markup."""

from __future__ import annotations

import re

import pytest
from builders import AGENT, TASK, a_command, invocations
from cli.test_why_not import asked, held
from explaining.test_explain import collapsed, everything
from explaining.told import KEY, explained

from crl_stream.core import messages as m
from crl_stream.core.policy import GUIDE
from crl_stream.dashboard import pages
from crl_stream.dashboard.fleet import Fleet
from crl_stream.dashboard.pages import Viewer, marks
from crl_stream.explaining.ids import id_of

VIEWER = Viewer(actor="ada", may_act=True, csrf="c", base="/dashboard")
HOSTILE = '<script>alert(1)</script><img src=x onerror="alert(2)">\u202e'


def test_the_page_shows_the_conclusion_and_marks_the_first_false_condition() -> None:
    page = pages.why_not_page(Fleet(), asked(held()), VIEWER, 1_763_562_900_000)
    assert "default is not rolled back, because held by grace since" in page
    assert "<b>No: the task is not held</b>" in page
    assert "crl why-not" in page
    assert f"/dashboard/tasks/{AGENT}/{TASK}" in page


def test_every_fact_has_a_page_with_links_to_its_neighbours() -> None:
    driver = collapsed(trace_id="t/1")
    template = "https://traces.example.com/t/{trace_id}"
    for _, message in everything(driver):
        found = explained(driver, id_of(message), GUIDE.for_task(KEY), template)
        page = pages.explain_page(Fleet(), found, VIEWER, 1_763_562_900_000)
        for step in (*found.causes, *found.since):
            assert f'href="/dashboard/explain/{step.id}"' in page
        if found.strip is not None:
            assert 'href="https://traces.example.com/t/t%2F1"' in page
            letters = "".join(outcome.outcome for outcome in found.strip.outcomes)
            assert marks.strip(letters, "J" * len(letters)) in page


@pytest.mark.parametrize("which", ["why-not", "explain"])
def test_a_strangers_text_is_never_markup(which: str) -> None:
    driver = held()
    driver.pipe(a_command(m.HoldTask, actor=HOSTILE, reason=HOSTILE))
    if which == "why-not":
        page = pages.why_not_page(Fleet(), asked(driver), VIEWER, 1_763_562_900_000)
    else:
        driver.pipe_each(invocations("default", "F"))
        name = [id_of(one) for _, one in everything(driver) if isinstance(one, m.CommandResult)][-1]
        page = pages.explain_page(Fleet(), explained(driver, name), VIEWER, 1_763_562_900_000)
    main = page.partition("<main")[2].partition("</main>")[0]
    assert "&lt;script&gt;" in main
    assert not re.search(r"<script|<img|\u202e", main)
