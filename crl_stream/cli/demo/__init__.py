"""``crl demo``: real processes on a real broker, told line by line.

``command`` is what is typed, ``story`` sets the stage, ``collapse`` and ``improvement`` are the two stories,
``telling`` tells and checks, ``fleet`` runs several runtimes, ``runtime`` is one.
"""
