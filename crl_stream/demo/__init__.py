"""The demo: real processes on a real broker, told line by line.

``runtime`` is one agent runtime, ``fleet`` runs several of them, ``story`` is what happens and what must have happened.
"""
