"""Every client of Kafka outside the worker's transport and the runtimes' client.

Read in this order:

    connection      options for aiokafka from the settings, and its errors turned into ours
    log_consumer    consumers that read whatever a Kafka client may write, and say how far they have read
    session         one set of connections for everything that a call asks
    positions       records by position: all up to an end, some between two, those at named ones
    reader          reading or following topics by their catalog names
    point_reader    the worker's reader by position: one long-lived consumer, one question at a time
    topic_ids       topics with their ids, which change when a topic is deleted and created again
    byte_names      a producer batch whose header names need not be UTF-8

What they are used for:

    admin           compares the topics on the broker with the catalog, and corrects them
    commands        sends commands and waits for the monitor's answer
    partition_rows  how far each partition of the log is folded, read from the changelog
    fleet_policy    which policy the fleet has, and the only way to set it
    policy_history  which policy a hash stands for
    overview_page   the overview of the system
    fleet_health    which services run and which are behind, as findings
    adoption        keeps the state after the log was created again
"""
