"""``crl rollbacks``: what was rolled back, and how people reviewed it.

command   the group: list, show
source    the rollbacks on the topic
fates     what became of each: confirmed, undone, taken back, followed by another change; right or wrong in shadow mode
page      one rollback in full
"""
