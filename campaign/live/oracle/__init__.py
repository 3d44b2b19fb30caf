"""The oracle of a round: ``python -m campaign.live.oracle REQUEST``, a separate process that prints JSON.

The oracle reads the topics with plain aiokafka and folds the log once through the pure layers, from the beginning
(``folds``).  It also counts what can be counted without the engine (``recount``).  It imports neither
``crl_stream.worker`` nor Faust, and checks its own imports to prove it.
"""
