"""People and their programs are told: once per event, in order, for as long as it takes.

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

Each channel is read in a consumer group of its own, so a failing one delays and loses nothing of the others.
``docs/notifiers.md`` is what operators and receivers read.
"""
