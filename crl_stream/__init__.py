"""A safety layer for fleets of AI agents, on Kafka.

To read the code, read in this order:

    core/         the engine: what an outcome does to a task, as pure functions over values
    wire/         bytes and values: names, partitions, codecs of every topic; also pure
    stages/       the engine over the log: records in, rows and outputs out; also pure; begin with ``topology``
    kafka/        every client of Kafka outside the worker's transport and the runtimes' client
    worker/       the stages on Faust and Kafka, made exact; the only folder that knows Faust
    client/       what an agent runtime uses: ``Publisher`` and ``Resolver``
    guide/        the Python API of the safety guide, word for word, over the same engine

What people meet:

    cli/          the command ``crl``
    dashboard/    the safety dashboard of the guide
    proposals/    what waits for a person: listed, shown, digested, exported
    telemetry/    the guide's files: rollbacks and proposals as lines of JSON, and their archive
    notifiers/    who is told of it: log, file, webhook, and through Apprise chat, mail and pagers
    settings/     every number a person may choose, and where its value came from
    broker/       a real Kafka for machines that have none
    contract/     finds and makes ``topics/``, the contract that is readable without Python
    errors        every error a person may meet
    visible       texts of strangers, so that they do nothing on a terminal
    worker_views  asks the views of a worker, from outside
    compiled      whether this installation runs the engine as C

Layers only look down: core <- wire <- stages <- all the rest (``tests/test_architecture.py``).  Importing
this package imports none of them.
"""

__version__ = "0.1.0"
