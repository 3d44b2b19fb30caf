"""Lists, shows, weekly summaries and exports of proposals, for people; and ``propose``, for scripts.

Read in this order:

    standing  the current proposals and their status at a given time
    page      one proposal in full: evidence, the exact change, what approving it would do
    digest    the weekly review: what is new, and the five to decide first
    rows      proposals as rows of a table, for spreadsheets
    export    one file per export format, found by listing the folder

    comparison  how a candidate's configuration differs from its parent's
    candidate   what a script gives as a candidate, checked
    filing      files a candidate as a proposal

Only ``filing`` uses Kafka.  Nothing else here reads a topic or a clock: proposals and the time are passed in.
"""

from crl_stream.proposals.filing import propose

__all__ = ["propose"]
