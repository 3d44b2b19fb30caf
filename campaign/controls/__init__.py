"""Controls: the same kills, stops, rebalances and broker bounces for what a user would pick instead.

The job is the smallest that has all the parts of ours: it counts the records of each key in a table with a changelog,
and sends one output for each record.  ``stock_faust`` and ``quix`` are the two programs, as their documentation writes
them.

    python -m campaign.controls --python PYTHON     # of an environment with requirements/bench.txt

The harness knows what it has sent, and counts what the control made of it (``recount``).  It adds no losses or
duplicates itself, and prints the figures as measured.
"""
