"""Faust web views, JSON: tasks for people and peers, health for machines.

``owners`` answers any question at any worker, ``gate`` decides who may ask, ``pages`` are the views, ``health`` is all
that a process without tasks has to show.
"""

from crl_stream.worker.views.health import add_health_views
from crl_stream.worker.views.pages import add_views

__all__ = ["add_health_views", "add_views"]
