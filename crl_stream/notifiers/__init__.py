"""Alerts people and their programs: once per event, in order, retrying for as long as it takes.

    channels/     one file per kind of channel, found by listing the folder
    options       what every channel may be told in ``[notifiers.<name>]``
    notice        one thing to be said, and the line that says it; pure
    selection     which records of the topics become notices of a channel; pure
    repetition    what is told again while nothing changes, told less and less often; pure
    plain         what strangers typed, without any markup of chats and mail; pure
    backlog       what came while a channel was away, in one line; pure
    failures      what a channel raises when it could not, or will never, deliver
    signature     how a webhook proves who sent it; pure
    notifier      a channel with patience: retries, gives up loudly, never lets another one wait

Each channel has its own consumer group, so a failing one does not affect the others.  ``docs/notifiers.md`` is for
operators and receivers.
"""
