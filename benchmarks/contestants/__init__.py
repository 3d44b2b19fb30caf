"""The contestants: programs that fold the same topic.  Each is one file, which ``race`` starts as a separate process.

``ours`` is the product.  ``bare`` is its pure stages in the simplest loop.  The others do the equivalent job in
``job``: JSON in, windows and counts in a durable store, JSON out.
"""
