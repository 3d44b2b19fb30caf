"""Bytes and values: names, partitions and codecs of every topic.  Pure."""
