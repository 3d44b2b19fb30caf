"""``crl dead-letters``: records that could not be used, with their bytes and the reason; sends them back.

command     the group and its reading commands: list, show
letters     the letters on the topic, which of them were sent back, and how a user chooses some
judging     decides what would happen to a replayed letter; pure
replaying   replay: ask, send, mark, report
"""
