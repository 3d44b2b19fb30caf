"""The tests that `make test` leaves to `make test-all`: each takes many seconds of CPU time, or starts its own brokers.

`make test` keeps everything that is quick, and one story for each part: a rollback, a restart, a hold, a review.  Tests
that are named on the command line always run.
"""

from __future__ import annotations

from typing import Final

import pytest

LONG: Final = (
    # Brokers, workers and clients that are killed, paused, cut off or given a full disk.
    "faults/",
    "live/",
    "broker/test_class_archive.py::test_the_first_broker_of_a_cache_",
    "broker/test_process.py",
    "broker/test_shared_kafka.py::test_a_run_that_is_killed_",
    "broker/test_last_words.py::test_a_full_disk_",
    "broker/test_last_words.py::test_a_broker_writes_a_log_and_its_real_ends_",
    "integration/test_daily_review.py",
    "integration/test_health.py::test_a_worker_says_that_its_broker_is_silent_",
    "integration/test_improvement.py::test_killed_at_every_point_",
    "integration/test_replaced_processes.py",
    "integration/test_runtime_lifetimes.py",
    "integration/test_topic_changes.py",
    "telemetry/test_archive.py::test_killed_before_any_line_",
    "telemetry/test_files.py::test_killed_before_any_line_",
    "test_campaign.py::test_nothing_is_lost_doubled_or_wrong_",
    "worker/test_point_reader.py",
    # Whole installations.
    "cli/test_bare_machines.py",
    "integration/test_compose.py",
    "integration/test_demo.py",
    "integration/test_small_installation.py",
    "integration/test_ipv6.py",
    "integration/test_two_installations.py",
    "integration/test_up.py",
    "test_compiled.py",
    # Every page and dialog in a real browser, wide and narrow, light and dark; a thousand tasks; a real worker.
    "browser/test_pages.py::test_every_",
    "browser/test_pages.py::test_searching_a_thousand_",
    "browser/test_pages.py::test_a_proposal_is_decided_",
    "browser/test_with_kafka.py",
    # Third-party libraries, in a separate environment.
    "joins/test_openfeature.py::test_the_provider_keeps_the_laws_",
    "joins/test_sync.py::test_an_agent_in_node_follows_through_flagds_provider",
    "joins/test_sync.py::test_node_and_go_choose_",
    "joins/test_hook_stories.py::test_the_same_agent_with_any_other_framework_",
    "joins/test_bridges.py::test_an_agent_that_only_sends_cloudevents_",
    "joins/test_bridges.py::test_spans_that_name_no_epoch_",
    "joins/test_every_way.py::test_an_agent_with_a_plain_kafka_client_",
    "joins/test_sync.py::test_an_agent_joined_by_flagds_own_provider_",
    "joins/test_mirror_mlflow.py::test_an_agent_whose_prompts_are_in_mlflow_",
    "test_detection_rivals.py::test_rivers_detectors_",
    # A benchmark with a worker, a browser and a load.
    "test_dashboard_bench.py::test_the_whole_benchmark_",
    # Kills and outages of a mirror, beside the shorter stories about the same label.
    "joins/test_mirror_mlflow.py::test_a_mirror_that_is_killed_",
    "joins/test_mirror_mlflow.py::test_a_store_that_is_down_",
    "joins/test_mirror_mlflow.py::test_of_two_mirrors_",
    # Every variation of one case; some variations are also tested without a broker.
    "integration/test_any_batch.py",
    "integration/test_drill.py::test_any_number_of_drills_",
    "integration/test_drill.py::test_a_policy_under_which_",
    "integration/test_drill.py::test_every_partition_is_tested_",
    "integration/test_drill.py::test_drills_move_no_figure_",
    "integration/test_failing_drills.py",
    "integration/test_operators_look.py",
    "integration/test_policy_announcement.py",
    "calibration/test_recovery.py::test_the_same_holds_if_failures_come_in_runs",
    "integration/test_publishing_files.py",
    "integration/test_replayed_letters.py",
    "integration/test_slow_clients.py",
    "integration/test_views_while_recovering.py",
)
"""Prefixes of test ids, without `tests/`; a test whose id begins with one of them is long."""


def is_long(test: str) -> bool:
    """Return whether the test with this id is left to `make test-all`."""
    return test.removeprefix("tests/").startswith(LONG)


def add_option(parser: pytest.Parser) -> None:
    parser.addoption("--no-long", action="store_true", help="leave out long tests, except those that are named")


def mark_and_leave_out(config: pytest.Config, items: list[pytest.Item]) -> int:
    """Mark the long tests and return how many were left out."""
    long = [item for item in items if is_long(item.nodeid)]
    for item in long:
        item.add_marker("long")
    if not config.option.no_long or not long:
        return 0
    config.hook.pytest_deselected(items=long)
    items[:] = [item for item in items if item not in set(long)]
    return len(long)
