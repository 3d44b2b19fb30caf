"""Lists, shows, weekly summaries and exports of proposals, for people.

Read in this order:

    standing  the current proposals and their status at a given time
    page      one proposal in full: evidence, the exact change, what approving it would do
    digest    the weekly review: what is new, and the five to decide first
    rows      proposals as rows of a table, for spreadsheets
    export    one file per export format, found by listing the folder

Nothing here reads a topic or a clock: proposals and the time are passed in.
"""
