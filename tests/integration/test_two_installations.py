"""Two installations on one cluster share nothing, even if only ``kafka.topic_prefix`` distinguishes them."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders import invocations
from installation import Installation

from crl_stream.core import messages as m
from crl_stream.kafka.admin import TopicAdmin
from crl_stream.settings import load_settings
from crl_stream.wire.topics import TASKS, Topics
from crl_stream.worker.services import create_services

pytestmark = pytest.mark.integration


async def test_two_installations_with_one_app_id_and_different_prefixes_judge_apart(kafka: str, tmp_path: Path) -> None:
    async with Installation(kafka, tmp_path) as first:
        second = Installation(kafka, tmp_path)
        second.app_id = first.app_id
        second.admin = TopicAdmin(second.kafka, second.app_id)
        async with second:
            await first.worker()
            await first.publish(*invocations("good", "S" * 10))
            await first.settled()
            await second.worker()
            await second.publish(*invocations("bad", "F" * 20))
            await second.settled()
            await first.publish(*invocations("good", "S" * 10))
            await first.settled()
            for installation, n in ((first, 20), (second, 20)):
                for worker in installation.workers:
                    assert worker.process.poll() is None, worker.log.read_text()[-2000:]
                    _, page = await worker.get("/api/tasks")
                    assert [task["n_outcomes"] for task in page["tasks"]] == [n]
            seen = {v.variant_id for t in await first.messages(TASKS) for v in t.variants}
            assert seen == {"good"}
            assert {v.variant_id for t in await second.messages(TASKS) for v in t.variants} == {"bad"}
            assert all(isinstance(t, m.TaskSnapshot) for t in await second.messages(TASKS))


@pytest.mark.parametrize("role", ["proposer", "overview", "tags", "files", "notifier"])
def test_every_group_topic_and_folder_of_a_service_carries_the_prefix(role: str, tmp_path: Path) -> None:
    def members(prefix: str) -> set[str]:
        flags = {
            "kafka.bootstrap_servers": "127.0.0.1:9",
            "kafka.topic_prefix": prefix,
            "telemetry.folder": str(tmp_path / f"t{prefix}"),
            "worker.data_dir": str(tmp_path / "data"),
        }
        found: set[str] = set()
        for member in create_services(load_settings(environment={}, flags=flags), [role], web=False):
            found |= {member.group, *(table.changelog_topic_name for table in member.tables)}
            found |= set(member.app.transport.stages)
        return found

    ours, theirs = members("pa."), members("pb.")
    assert ours
    assert all(name.startswith("pa.") for name in ours)
    assert not ours & theirs


def test_the_admin_knows_the_changelogs_by_the_names_that_the_worker_uses() -> None:
    settings = load_settings(environment={}, flags={"kafka.topic_prefix": "pa.", "kafka.bootstrap_servers": "x:1"})
    names = TopicAdmin(settings.kafka, "app").specs
    assert all(name.startswith("pa.") for name in names)
    for table in ("tasks", "proposals", "overview", "tags"):
        assert Topics("pa.").changelog("app", table) in names
