"""Proposals as people meet them: listed, shown, weighed once a week, taken along into other tools.

    standing   which proposals there are, and how each stands at an hour
    page       one proposal in full: evidence, the exact change, what an approval will do
    digest     the weekly review: what is new, and the best five to decide
    export/    one file per format, found by listing the folder

Nothing here reads a topic or a clock: it is handed proposals and the hour.
"""
