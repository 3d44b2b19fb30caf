"""The oracle of a round: ``python -m campaign.live.oracle REQUEST``, a process of its own that prints JSON.

It reads the topics as they stand with plain aiokafka and folds the log through the pure layers once, from nothing
(``folds``).  Beside that it counts without the engine whatever can be counted (``recount``).  It imports neither
``crl_stream.worker`` nor Faust, and says so by looking at what it has imported.
"""
