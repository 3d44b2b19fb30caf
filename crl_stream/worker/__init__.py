"""The worker, which runs the pure stages on stock Faust and makes Faust safe.  No other folder imports faust.

Read in this order:

    transport/           how Faust reads and writes messages, without losing any
    table                rows as bytes, and their changelog
    stores/              where a table keeps its rows: in memory, or on disk
    stages               the order in which every stage writes its results
    stale_writes         repairs compacted topics after stale writes by a process that was paused
    member               one Faust app in its consumer group: tables, agents and safe settings
    monitor_stages       the fold of the log, and the inlet for commands
    monitor              the member that folds the log
    service_stages       the proposer, tallies, overview and tags, and delivery to files and notifiers
    bridge_stages        maps the records of other systems, a step at a time
    bridge_inputs        fetches and receives what bridges get over HTTP
    mirrors/             labels of prompt stores that follow the active variants
    services             the members other than the monitor, one for each role
    run                  one worker process, from settings to exit code

A record goes from ``transport.consumer``, which polls and keeps a lane for each partition, to the Faust agent that
``member`` defines, and on to ``stages``: fold, publish, write rows, each awaited.  Only then may ``transport.consumer``
commit its offset.

What a worker does besides processing records:

    preflight            checks the broker before the worker starts
    policy_announcement  compares the policy of the fleet with the one in its settings
    ticking              lets the fold know that time has passed
    review_hours         the hours of the weekly review
    topic_watch          detects topics that are deleted, recreated or enlarged, and a broker that stops responding
    topic_changes        the errors about changed topics
    stopping             SIGINT and SIGTERM end the process within seconds

What it reports:

    views/               the web views
    dashboard_relay      passes the requests for the dashboard on to a process of its own
    dashboard_process    that process
    counters             what the process has done since it started
    summaries            totals over its rows
    health               the problems that it has found
    recovery_progress    progress lines while it reads a changelog
    log_lines            a log that stays readable while a broker is down
    own_address          the URL at which other workers reach its views
"""
