"""The system as a whole, folded from notes (``core.messages.overview``).

``rows`` is what is kept: a row for each task and each agent, one for the totals.  ``ranking`` holds the best of many
without the many, ``taking`` says what one note does to the row of its task, ``ledger`` takes a batch of them and keeps
the sums, ``page`` makes the one page.  ``condition`` is the word for the system's health at the hour at which one
reads, ``review`` the alert of the weekly one.
"""

from crl_stream.core.overview.condition import Condition, health
from crl_stream.core.overview.ledger import Ledger
from crl_stream.core.overview.page import make_page
from crl_stream.core.overview.review import weekly_review
from crl_stream.core.overview.rows import Place, row_position

__all__ = ["Condition", "Ledger", "Place", "health", "make_page", "row_position", "weekly_review"]
