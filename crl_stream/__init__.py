"""A safety layer for fleets of AI agents, on Kafka.

If you are here to read the code, read in this order:

    core/        the engine: what an outcome does to a task, as pure functions over values
    wire/        bytes and values: names, partitions, codecs of every topic; also pure
    stages/      the engine over the log: records in, rows and outputs out; also pure; begin with ``topology``
    worker/      the stages on Faust and Kafka, made exact; the only folder that knows Faust
    client/      what an agent runtime uses: ``Publisher`` and ``Resolver``
    dashboard/   the safety dashboard of the guide, for people
    broker/      a real Kafka for machines that have none
    proposals/   what waits for a person: listed, shown, digested, exported
    telemetry/   the guide's files: rollbacks and proposals as lines of JSON, and their archive
    notifiers/   who is told of it: log, file, webhook, and through Apprise chat, mail and pagers
    settings/    every number a person may choose, and where its value came from
    guide/       the Python API of the safety guide, word for word, over the same engine
    cli/         the command ``crl``, one file per command
    overview_page.py  reads the one page of the system
    compiled.py  whether this installation runs the engine as C
    log_consumer.py   consumers that read whatever a Kafka client may write, and follow positions
    byte_names.py     writes headers whose names are not UTF-8
    fleet_health.py, told_tasks.py   what Kafka says of an installation while no worker answers
    visible.py   texts of strangers, so that they do nothing on a terminal
    contract.py  finds ``topics/``, the contract that is readable without Python
    errors.py    every error a person may meet

Layers only look down: core <- wire <- stages <- all the rest (``tests/test_architecture.py``).  Importing
this package imports none of them.
"""

__version__ = "0.1.0"
