"""``crl sync``: writes the active variants to a file, for runtimes without Kafka and for flagd.

command     follows the topics until it is stopped, or once
follower    what the topics say now, as it is read
documents   the content of the file: plain JSON, YAML, or flagd's flags
yaml_text   a JSON value as YAML
"""
