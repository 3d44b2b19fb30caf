"""The system as a whole, folded from notes (``core.messages.overview``).

Read in this order:

    notes      what a rollback, an alert, a proposal or a snapshot adds to the page
    rows       what is kept: a row for each task and agent, and one for the totals
    taking     what one note changes in the row of its task
    ledger     folds a batch of notes and keeps the sums
    ranking    keeps the best of many entries without keeping all of them
    page       builds the page
    condition  the system's health in one word at the time of reading
    review     the weekly review and the daily message about what waits, as alerts
"""

from crl_stream.core.overview.condition import Condition, health
from crl_stream.core.overview.ledger import Ledger
from crl_stream.core.overview.page import make_page
from crl_stream.core.overview.review import daily_review, weekly_review
from crl_stream.core.overview.rows import Place, row_position

__all__ = ["Condition", "Ledger", "Place", "daily_review", "health", "make_page", "row_position", "weekly_review"]
