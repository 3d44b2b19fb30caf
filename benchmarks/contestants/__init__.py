"""The programs that fold the same topic: each file is one, which ``race`` starts as a separate process.

``ours`` is the product and ``bare`` its pure stages in the simplest loop; the others do the equivalent job of ``job``:
JSON in, windows and counts in a durable store, JSON out.
"""
