"""The worker: the pure stages carried by stock Faust, made safe.  The only folder that imports faust.

Read in this order:

    transport/           how Faust's messages get in and out, made exact
    table                rows as bytes, and their changelog
    stores/              where a table keeps its rows: in memory, or on disk
    stages               the order in which everything is written, whatever a stage folds
    stale_writes         a paused process that writes late does not have the last word on a compacted topic
    member               one Faust app in its consumer group: tables, agents, and the settings that safety needs
    monitor_stages       the fold of the log, and the inlet of commands
    monitor              the member that folds the log
    service_stages       the proposer, the tallies, the overview and what is handed to files and notifiers
    services             the members beside the monitor, one for each role
    run                  a worker process, from settings to exit code

What a worker looks after while it runs:

    preflight            what must be true of the broker before it starts
    policy_announcement  the policy of the fleet beside that of its settings
    ticking              tells the fold that time has passed
    review_hours         the hours of the weekly review
    topic_watch          topics that are deleted, made again or grown, and a broker that falls silent
    topic_changes        what is said of them
    stopping             SIGINT and SIGTERM: it is gone within seconds

What it tells:

    views/               its web views
    counters             what it has done since it started
    summaries            the numbers over its rows
    health               what is wrong with it
    recovery_progress    what it says while it reads a changelog
    log_lines            its log while a broker is away
    own_address          where the other workers reach its views
"""
