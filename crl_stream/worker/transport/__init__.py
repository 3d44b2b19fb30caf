"""How Faust reads and writes messages, without losing any.

Read in this order:

    private_surface  the parts of Faust and aiokafka that we use outside their documented API
    lanes            one batch in flight for each partition, with waiting batches merged
    stage            the interface of the code that works on the batches
    fetching         how often the broker is asked for records
    consumer         polls batches into lanes, and commits only what the lanes have finished
    producer         batches that are awaited until every replica has them
    scheme           consumer and producer as a transport of Faust
"""
