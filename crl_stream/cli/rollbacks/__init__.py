"""``crl rollbacks``: what was rolled back, and what people made of it.

command   the group: list, show
source    the rollbacks of the topic
fates     what became of each: confirmed, undone, followed by another change
page      one rollback in full
"""
