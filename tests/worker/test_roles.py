"""The roles that a person may name are the roles that a worker has."""

from __future__ import annotations

from crl_stream.cli.processes import ROLES_OF
from crl_stream.cli.worker import ROLES, SERVICES, chosen_roles
from crl_stream.worker import services


def test_every_role_of_the_command_line_is_one_that_a_process_can_take() -> None:
    assert set(ROLES) == {services.MONITOR, *services._MAKERS}


def test_the_services_are_every_role_but_the_monitor() -> None:
    assert chosen_roles([SERVICES]) == [role for role in ROLES if role != services.MONITOR]


def test_the_processes_of_an_installation_take_every_role_once() -> None:
    assert sorted(role for roles in ROLES_OF.values() for role in roles) == sorted(ROLES)
