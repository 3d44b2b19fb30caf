"""Controls: the same kills, stops, rebalances and broker bounces on the alternatives that a user could choose.

The job is the smallest one with all the parts of crl-stream: it counts the records of each key in a table with a
changelog, and sends one output for each record.  ``stock_faust`` and ``quix`` are the two programs, written as their
documentation recommends.

    python -m campaign.controls --python PYTHON     # of an environment with requirements/bench.txt

The harness knows what it has sent, and counts what the control did with it (``recount``).  It adds no losses or
duplicates itself, and prints the figures as measured.
"""
