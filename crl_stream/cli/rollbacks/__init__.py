"""``crl rollbacks``.

``command`` lists and shows, ``fates`` finds what became of each rollback, ``page`` renders one in full.
"""
