"""The archive of Kafka's classes, which halves the start time of every broker that finds one in its cache."""

from __future__ import annotations

import fcntl
from pathlib import Path

from crl_stream.broker.class_archive import ClassArchive
from crl_stream.broker.jars import KAFKA_VERSION, fetch, quiet
from crl_stream.broker.java import Java
from crl_stream.broker.process import EmbeddedBroker
from crl_stream.settings.model import Client


def a_cache(folder: Path) -> Path:
    """A separate cache folder that links to the jars in the usual cache."""
    (jars := folder / f"kafka-{KAFKA_VERSION}").mkdir(parents=True)
    for jar in fetch(Client().cache_dir):
        (jars / jar.name).symlink_to(jar)
    return folder


def a_java(path: Path, script: str) -> Java:
    path.write_text(f"#!/bin/sh\necho asked >> {path}.asked\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    return Java(path, 21, "PATH", "a runtime of a test")


def test_the_first_broker_of_a_cache_notes_its_classes_and_the_second_one_maps_an_archive_of_them(
    tmp_path: Path,
) -> None:
    cache = a_cache(tmp_path / "cache")
    with EmbeddedBroker(tmp_path, cache, ephemeral=True) as broker:
        assert (endpoint := broker.status()) is not None
        assert not (Path(endpoint.data_dir) / "classes.txt").exists()
    (names,) = cache.rglob("classes-*.txt")
    lines = names.read_text(encoding="utf-8").splitlines(keepends=True)
    assert any(line.split()[0] == "kafka/server/BrokerServer" for line in lines)
    few = [line for line in lines if line.startswith("java/lang/")][:100]
    names.write_text("".join(few), encoding="utf-8")
    with EmbeddedBroker(tmp_path, cache, ephemeral=True) as broker:
        assert (endpoint := broker.status()) is not None
        (archive,) = cache.rglob("classes-*.jsa")
        assert str(archive) in Path(f"/proc/{endpoint.pid}/maps").read_text(encoding="utf-8")


def test_a_java_that_can_make_no_archive_is_asked_once_and_brokers_start_without(tmp_path: Path) -> None:
    archive = ClassArchive(tmp_path, a_java(tmp_path / "java", "exit 1"))
    archive.names.write_text("java/lang/Object\n", encoding="utf-8")
    archive.make("kafka.jar", quiet)
    archive.make("kafka.jar", quiet)
    assert (tmp_path / "java.asked").read_text(encoding="utf-8") == "asked\n"
    assert archive.options(tmp_path / "noted") == []
    assert sorted(path.name for path in tmp_path.glob("classes-*")) == [archive.path.name, archive.names.name]


def test_an_archive_is_made_by_one_program_and_the_others_start_without_waiting(tmp_path: Path) -> None:
    archive = ClassArchive(tmp_path, a_java(tmp_path / "java", "exit 1"))
    archive.names.write_text("java/lang/Object\n", encoding="utf-8")
    with archive.names.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        archive.make("kafka.jar", quiet)
    assert not (tmp_path / "java.asked").exists()
    assert archive.options(tmp_path / "noted") == []


def test_names_of_classes_are_kept_up_to_the_last_whole_line_and_a_missing_folder_changes_nothing(
    tmp_path: Path,
) -> None:
    (noted := tmp_path / "noted").write_text("java/lang/Object\njava/la", encoding="utf-8")
    archive = ClassArchive(tmp_path, Java(Path("java"), 21, "PATH", "a build"))
    assert archive.options(noted) == [f"-XX:DumpLoadedClassList={noted}"]
    archive.keep_names(noted)
    assert archive.names.read_text(encoding="utf-8") == "java/lang/Object\n"
    assert not noted.exists()
    archive.keep_names(noted)
    nowhere = ClassArchive(tmp_path / "nowhere", archive.java)
    noted.write_text("java/lang/Object\n", encoding="utf-8")
    nowhere.keep_names(noted)
    nowhere.make("kafka.jar", quiet)
    assert not (tmp_path / "nowhere").exists()


def test_another_build_of_java_has_an_archive_of_its_own(tmp_path: Path) -> None:
    one, other = (Java(Path("java"), 21, "PATH", build) for build in ("21.0.1", "21.0.2"))
    assert ClassArchive(tmp_path, one).path != ClassArchive(tmp_path, other).path
