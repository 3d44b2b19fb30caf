"""Turns bytes into values and back: names, partitions and codecs for all topics, without I/O.

Read in this order:

    topic_names     the only place that names topics; topics: the messages on each
    weights         which variant an invocation uses during a rollout
    partitioner     the partition of a key; drill_tasks: the reserved task of each partition, for drills
    records         records as consumers receive them, and as producers send them
    codec           bytes to messages and back; what cannot be decoded becomes a rejection with a reason
        runtime_codec   the part of it that a runtime's client needs
        strict_json     finds the errors that fast JSON parsers miss
        complaints      explains why a message violates its schema
        reasons         all reasons why a record can become a dead letter
        cloudevents     optional CloudEvents headers, and the trace context
    dead_letter     the headers of dead letters, forwards and replays

For record batches that other readers cannot read:

    record_batch    batches in the form they have in the log
    compression     decompression within a fixed memory limit

The contract that other programs read:

    catalog         every topic: who writes and reads it, and how the broker keeps it
    schemas         JSON Schemas of the messages
    asyncapi        the AsyncAPI document
"""
