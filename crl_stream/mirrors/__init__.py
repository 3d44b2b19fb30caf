"""Reads and moves labels in prompt stores, by HTTP; ``core.mirroring`` decides what is moved.

    store       what a prompt store can do, and how it can fail
    http        requests with a time limit, a size limit and no redirects
    langfuse    labels of prompts in Langfuse
    mlflow      aliases of prompts in MLflow

The stores' own packages are not used: they start threads, keep caches and send telemetry, and a label needs only two
kinds of request.
"""
