"""``crl demo``: real processes on a real broker, narrated line by line.

``command`` defines the command, ``place`` separates the demo from real data, ``story`` sets the stage, ``collapse`` and
``improvement`` are the two stories, ``telling`` narrates and checks, ``fleet`` runs several runtimes, ``runtime`` is
one of them.
"""
