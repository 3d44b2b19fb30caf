"""The oracle of a round: ``python -m campaign.live.oracle REQUEST``, a separate process that prints JSON.

It reads the topics as they are with plain aiokafka and folds the log once through the pure layers, from the beginning
(``folds``).  It also counts, without the engine, whatever can be counted (``recount``).  It imports neither
``crl_stream.worker`` nor Faust, and checks its own imports to prove it.
"""
