"""Controls: alternatives that a user could choose, put through the campaign's kills, stops, rebalances and bounces.

Their job is the smallest one that has all the parts of crl-stream's job: they count the records of each key in a table
with a changelog, and send one output for each record.  ``stock_faust`` and ``quix`` are the two programs.  Each is
written as the documentation of its library recommends.

    python -m campaign.controls --python PYTHON     # the interpreter of an environment with requirements/bench.txt

The harness keeps a list of what it has sent, and counts what the control did with each record (``recount``).  It
causes no losses or duplicates itself, and prints the figures as measured.
"""
