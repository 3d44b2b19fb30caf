"""Faust web views in JSON: tasks for people and peers, health for machines.

pages        the views
owners       lets any worker answer requests about any task
gate         checks which requests are allowed
connections  limits how long idle connections stay open, and how many
health       the views of a process without tasks
"""

from crl_stream.worker.views.health import add_health_views
from crl_stream.worker.views.pages import add_views

__all__ = ["add_health_views", "add_views"]
