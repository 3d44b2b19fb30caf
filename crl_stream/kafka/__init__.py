"""All Kafka clients except the worker's transport and the runtimes' client.

Read in this order:

    connection      turns settings into options for aiokafka, and its errors into ours
    log_consumer    consumers that read whatever a Kafka client may write, and report how far they have read
    session         one set of connections for all the Kafka requests of one call
    positions       records by position: up to an end, between two positions, or at given positions
    reader          reads or follows topics by their catalog names
    point_reader    the worker's reader by position: one long-lived consumer, one request at a time
    topic_ids       topics with their ids, which change when a topic is deleted and created again
    byte_names      a producer batch whose header names need not be UTF-8

Built on these:

    admin           compares the topics on the broker with the catalog, and corrects them
    commands        sends commands and waits for the monitor's answer
    fleet_orders    commands for the whole fleet, and the answers of its partitions in words
    partition_rows  reads how far each partition of the log is folded, from the changelog
    fleet_policy    reads the fleet's policy, and is the only way to set it
    policy_change   changes a part of the policy without losing what others change at the same time
    retained_log    reads the part of the log that is still on the topics, to fold it again
    policy_history  finds the policy with a given hash
    overview_page   reads the overview of the system
    fleet_records   follows everything that the dashboard shows
    foreign_topics  creates the topics of other programs that bridges read, if they are missing
    fleet_health    finds the services that are down or behind
    adoption        keeps the state after the log was deleted and created again
"""
