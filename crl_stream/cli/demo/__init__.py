"""``crl demo``: real processes on a real broker, told line by line.

``command`` is what is typed, ``runtime`` is one agent runtime, ``fleet`` runs several of them, ``story`` is what
happens and what must have happened.
"""
