"""``crl demo``: real processes on a real broker, told line by line.

``command`` is what is typed, ``place`` keeps it apart from what is real, ``story`` sets the stage, ``collapse`` and
``improvement`` are the two stories, ``telling`` tells and checks, ``fleet`` runs several runtimes, ``runtime`` is one.
"""
