"""A safety layer for fleets of AI agents, on Kafka.

To read the code, read in this order:

    core/        the engine: what an outcome does to a task, as pure functions over values
    wire/        bytes and values: names, partitions, codecs of every topic; also pure
    stages/      the engine over the log: batches of records in, rows and outputs out; also pure
    kafka/       every Kafka client outside the worker: readers, administration, commands
    worker/      runs the stages on Faust and Kafka, exactly; the only folder that imports Faust
    client/      what an agent runtime uses: ``Publisher`` and ``Resolver``
    dashboard/   the safety dashboard of the guide, for people
    broker/      a real Kafka for machines that have none
    proposals/   proposals for people: listed, shown, summarised, exported
    telemetry/   the guide's files: rollbacks and proposals as JSON lines, and their archive
    notifiers/   alerts people: log, file, webhook, and through Apprise chat, mail and pagers
    settings/    every number a user may choose, and where its value came from
    guide/       the Python API of the safety guide, word for word, over the same engine
    contract/    finds ``topics/``, the contract that is readable without Python
    cli/         the command ``crl``, one file per command
    compiled.py  tells whether this installation runs the engine as C
    visible.py   makes texts of others harmless on a terminal
    errors.py    every error a user may see

Layers only look down: core <- wire <- stages <- all the rest (``tests/test_architecture.py``).  Importing
this package imports none of them.
"""

__version__ = "0.1.0"
