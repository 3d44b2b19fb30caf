"""``crl rollbacks``: what was rolled back, and how people reviewed it.

command   the group: list, show
source    the rollbacks on the topic
"""
