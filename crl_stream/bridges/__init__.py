"""Bridges turn what other systems say about agents into messages of the log; all functions are pure.

Read in this order:

    kinds/        one file for each kind of bridge, found by listing the folder
    mapping       what a record becomes: messages, faults, outputs
    options       the settings that bridges share
    scale         turns scores into quality
    names         turns names from elsewhere into names that the log accepts

For scores:

    scores        a score of another system as feedback
    polling       how far a polled system has been read

For OpenTelemetry and OpenInference:

    attributes    the names of attributes
    spans         spans and events, whatever their encoding was
    otlp_json     reads them from JSON
    otlp_proto    reads them from Protocol Buffers, with the help of:
    protobuf      the wire format of Protocol Buffers
    agents        turns the outermost span of each agent into an invocation

The worker runs the bridges: ``worker.bridge_stages`` and ``worker.bridge_inputs``, in ``crl worker --role bridge``.
"""
