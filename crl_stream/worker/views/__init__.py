"""Faust web views, JSON: tasks for people and peers, health for machines.

``owners`` answers any question at any worker, ``gate`` decides who may ask, ``pages`` are the views.
"""

from crl_stream.worker.views.pages import add_views

__all__ = ["add_views"]
