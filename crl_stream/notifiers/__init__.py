"""Alerts people and their programs: once per event, in order, retrying for as long as it takes.

    channels/     one file per kind of channel, found by listing the folder
    options       the settings that every channel has in ``[notifiers.<name>]``
    notice        one event as a channel gets it, with its line for people; pure
    selection     decides which records become notices of a channel; pure
    repetition    spaces reminders while nothing changes; pure
    plain         removes chat and mail markup from texts of others; pure
    backlog       summarises what a channel missed in one line; pure
    signature     signs webhooks; pure
    notifier      one channel with retries; gives up loudly and never delays another channel

Each channel has its own consumer group, so a failing one does not affect the others.  ``docs/notifiers.md`` is for
operators and receivers.
"""

from crl_stream.notifiers.notifier import Notifier, open_notifiers

__all__ = ["Notifier", "open_notifiers"]
