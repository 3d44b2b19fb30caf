"""Keeps the labels of prompt stores up to date, in the one process that owns the partition of ``crl.mirrors``.

board       everything that is known: records, active variants, catalogues, answers to commands
stage       reads the records back after a restart, and repairs stale writes
following   follows the active variants, the catalogues and the answers
labels      moves the labels of one store, with patience for a store that does not answer
mirroring   starts all of this when the process gets the partition, and ends it when the partition goes
"""
