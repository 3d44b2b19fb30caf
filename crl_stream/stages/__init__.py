"""The stages of the product as values: bytes in, bytes out, no Kafka.

``monitor`` folds one partition of the log; ``inlet`` turns commands into references in the log; ``proposer`` folds
one partition of the monitor's snapshots; ``partition`` is the state of a partition beside its task rows;
``inspection`` reads rows for people; ``driver`` runs the stages in memory.  The worker, ``crl replay`` and the
oracle of the tests all run these functions.
"""
