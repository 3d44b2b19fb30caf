"""Proposals for people: listed, shown, summarised weekly, exported to other tools.

    standing   the proposals and their status at a given time
    page       one proposal in full: evidence, the exact change, what approving it would do
    digest     the weekly review: what is new, and the five to decide first
    export/    one file per format, found by listing the folder

Nothing here reads a topic or a clock: proposals and the time are passed in.
"""
