"""Every client of Kafka outside the worker's transport and the runtimes' client.

Read in this order:

    connection      settings become options of aiokafka, and its errors ours
    log_consumer    consumers that read whatever a Kafka client may write, and say how far they have read
    session         one set of connections for all that a call asks
    positions       records by position: all up to an end, some between two, those at named ones
    reader          topics by their catalog names: read as they stand, or followed
    point_reader    the worker's reader by position: one consumer for as long as it runs, one question at a time
    topic_ids       topics with the ids that tell one from another that was made again under its name
    byte_names      a batch for the producer with header names that are not UTF-8

What is asked with them, and what is sent:

    admin           the topics on the broker, held against the catalog, and made so
    commands        orders: sent, and waited for until the monitor has answered
    partition_rows  how far each partition of the log is folded, from the changelog
    fleet_policy    which policy the fleet has, and the one way to set it
    policy_history  which policy a hash stands for
    overview_page   the page of the system
    fleet_health    who runs and who is behind, as findings
    adoption        a log that was made again goes on with the state there is
"""
