"""A safety layer for fleets of AI agents, on Kafka.

To read the code, read in this order:

    core/         the engine: what an outcome does to a task, as pure functions over values
    wire/         bytes to values and back: names, partitions, the codec of every topic; also pure
    stages/       the engine over the log: records in, rows and outputs out; also pure; begin with ``topology``
    kafka/        every Kafka client except the worker's transport and the runtimes' client
    worker/       runs the stages on Faust and Kafka, without loss or double counting; nothing else imports Faust
    client/       what an agent runtime uses: ``Publisher`` and ``Resolver``
    openfeature/  the OpenFeature provider, over ``client``
    hooks/        join agents of LangGraph, OpenAI, pydantic-ai, Claude and CrewAI with two lines, over the same client
    bridges/      what other systems say about agents, as messages of the log; also pure
    guide/        the Python API of the safety guide, word for word, over the same engine

What people use:

    cli/          the command ``crl``
    dashboard/    the safety dashboard of the guide
    explaining/   why something happened, and why nothing did, from the topics alone
    trial/        replays a recorded log under another policy: what it would have decided, and at what cost
    calibration/  measures what the policy of a task costs, with the task's own history
    proposals/    lists, shows, summarises and exports changes that wait for a review
    telemetry/    the guide's files: rollbacks and proposals as JSON lines, and their archive
    notifiers/    alerts by log, file and webhook, and through Apprise by chat, mail and pager
    mirrors/      reads and moves the labels of prompt stores, in Langfuse and MLflow
    settings/     every setting a person can choose, and where its value came from
    broker/       a real Kafka broker for machines that have none
    contract/     locates and generates ``topics/``, the contract, which can be read without Python
    sections      what sections of the settings have in common, wherever they are defined
    errors        every error a user may see
    visible       makes untrusted text safe to print on a terminal
    worker_views  queries the views of a worker from another process
    compiled      whether this installation runs the engine compiled to C

Layers import only from the left: core <- wire <- stages <- everything else (``tests/test_architecture.py``).  Importing
this package imports none of them.
"""

__version__ = "0.1.0"
