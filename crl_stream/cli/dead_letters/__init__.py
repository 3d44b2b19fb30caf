"""``crl dead-letters``: records that could not be used, with their bytes and the reason, and their way back.

command     the group, and what only reads: list, show
letters     the letters of the topic, which of them were sent back, and those that a person chooses
judging     what would become of a letter that is sent back; pure
replaying   replay: ask, send, mark, say
"""
