"""Controls: the same kills, stops, rebalances and broker bounces for what a user would pick instead.

The job is the smallest that has all parts of ours: count the records of each key in a table with a changelog, and send
one output for each record.  ``stock_faust`` and ``quix`` are the two programs, as their documentation writes them.

    python -m campaign.controls --python PYTHON     # of an environment with requirements/bench.txt

The harness knows what it has sent; it counts what came of it (``recount``).  A control loses or doubles nothing by
being run here: its figures are printed as they came.
"""
