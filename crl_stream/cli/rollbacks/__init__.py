"""``crl rollbacks``.

``command`` lists and shows, ``fates`` says what people made of each, ``page`` is one rollback in full.
"""
