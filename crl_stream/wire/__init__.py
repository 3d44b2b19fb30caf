"""Bytes and values: names, partitions and codecs of every topic.  Pure.

Read in this order:

    topics          the only place where a topic is named, and what may travel on each
    partitioner     the partition of a key
    records         a record as a consumer hands it in, and as it is to be produced
    codec           bytes to messages and back; what cannot be decoded is a rejection with a reason
        strict_json     what fast parsers let pass is found
        complaints      what a message does not fit in, in words
        reasons         why a record is a dead letter: the whole list
        cloudevents     optional headers of CloudEvents, and the trace context
    dead_letter     the headers of dead letters, forwards and replays

Below the messages, where batches are read that others cannot read:

    record_batch    batches as they lie in the log
    compression     unpacking into no more memory than was decided before

The contract that other programs read:

    catalog         every topic, who writes and reads it, how the broker keeps it
    schemas         JSON Schemas of the messages
    asyncapi        the AsyncAPI document
"""
