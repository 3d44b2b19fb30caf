"""How Faust's messages get in and out, made exact.

Read in this order:

    private_surface  everything of Faust and aiokafka that is used beside their documented API
    lanes            one batch in flight for each partition; what waits is merged
    stage            what is asked of whoever works on the batches
    fetching         how often the broker is asked for records
    consumer         polls batches into lanes, and commits only what the lanes have finished
    producer         batches that are awaited until every replica has them
    scheme           consumer and producer as a transport of Faust
"""
