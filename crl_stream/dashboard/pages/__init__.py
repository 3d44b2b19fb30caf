"""The pages of the dashboard as HTML: pure functions of a ``Fleet``, a ``Viewer`` and the time.

Every page takes ``parts``: with it, only what may change is rendered, for a script that already shows the page.

conditions     what a task's state looks like; the words are those of crl status
explain_page   one fact explained by its id
fleet_page     the page of the whole fleet
frame          what every page has: top bar, banners, dialogs
happenings     what happened, one line each
marks          the small drawings: strip, spark, pips
missing        pages without a fleet: signing in, not found, not known yet
orders         what a person can do: dialog, command, what is posted
phrases        times, ages and numbers
rendering      templates, and the escaping of every value
review_page    the queue of proposals
rollback_page  one rollback explained
rows           the table of tasks, and what the stream sends about one of them
task_page      one task
viewer         who looks at a page
why_not_page   why nothing happens to a task
"""

from crl_stream.dashboard.pages.explain_page import explain_page
from crl_stream.dashboard.pages.fleet_page import fleet_page
from crl_stream.dashboard.pages.missing import missing_page, once_more_page, one_moment, sign_in_page, trouble_page
from crl_stream.dashboard.pages.rendering import STATIC
from crl_stream.dashboard.pages.review_page import review_page
from crl_stream.dashboard.pages.rollback_page import rollback_page
from crl_stream.dashboard.pages.rows import Rows
from crl_stream.dashboard.pages.task_page import task_page
from crl_stream.dashboard.pages.viewer import Viewer
from crl_stream.dashboard.pages.why_not_page import why_not_page

__all__ = [
    "STATIC",
    "Rows",
    "Viewer",
    "explain_page",
    "fleet_page",
    "missing_page",
    "once_more_page",
    "one_moment",
    "review_page",
    "rollback_page",
    "sign_in_page",
    "task_page",
    "trouble_page",
    "why_not_page",
]
