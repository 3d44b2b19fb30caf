"""What folds the same topic as we do: each file is one program, started as a process of its own by ``race``.

``ours`` is the product and ``bare`` its pure stages in the simplest loop; the others do the equivalent job of ``job``:
JSON in, windows and counts in a durable store, JSON out.
"""
