"""Faust web views, JSON: tasks for people and peers, health for machines.

pages        the views
owners       any question is answered by any worker
gate         who may ask
connections  how long a connection that asks nothing is kept, and how many of them
health       all that a process without tasks has to show
"""

from crl_stream.worker.views.health import add_health_views
from crl_stream.worker.views.pages import add_views

__all__ = ["add_health_views", "add_views"]
