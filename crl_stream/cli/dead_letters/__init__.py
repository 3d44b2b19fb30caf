"""``crl dead-letters``: list records that could not be used, with their bytes and the reason, and send them back.

command     the group and its reading commands: list, show
letters     the letters on the topic, which of them were sent back, and how a user selects them
judging     decides what would happen to a replayed letter; pure
replaying   replay: ask, send, mark and report
"""
