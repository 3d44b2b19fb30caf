"""Alerts people and their programs: once per event, in order, retrying for as long as it takes.

    channels/     one file per kind of channel, found by listing the folder
    options       the settings that every channel has in ``[notifiers.<name>]``
    notice        one event to report, and its line for people; pure
    selection     which records of the topics become notices of a channel; pure
    repetition    repeats an unchanged state less and less often; pure
    plain         removes chat and mail markup from untrusted text; pure
    backlog       summarises what a channel missed in one line; pure
    failures      what a channel raises when a delivery fails for now, or can never succeed
    signature     how a webhook proves its sender; pure
    notifier      one channel with retries; it logs what it gives up on, and never delays another channel

Each channel has its own consumer group, so a failing one does not affect the others.  ``docs/notifiers.md`` is for
operators and receivers.
"""
