"""Builds a wheel whose hot modules are compiled to C, if ``HATCH_BUILD_HOOK_ENABLE_CUSTOM=true`` is set.

mypyc compiles a copy of the modules that ``pyproject.toml`` lists, so it leaves nothing beside the sources.  The wheel
also keeps their sources, for tracebacks and for readers; Python prefers the compiled modules.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE = "crl_stream"


class CompiledBuild(BuildHookInterface[Any]):
    """A hook that compiles modules before the files of the wheel are collected."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the compiled modules to the wheel, which then fits only this Python version and platform."""
        if version == "editable":
            return  # developers run from source
        self._folder = Path(tempfile.mkdtemp(prefix="crl-compiled-"))
        for path in compile_modules(Path(self.root), self.config["modules"], self._folder):
            build_data["force_include"][str(path)] = str(path.relative_to(self._folder))
        build_data["pure_python"], build_data["infer_tag"] = False, True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        """Remove the temporary folder after the wheel has been written."""
        if version != "editable":
            shutil.rmtree(self._folder, ignore_errors=True)


def compile_modules(root: Path, modules: list[str], folder: Path) -> list[Path]:
    """Compile ``modules`` in ``folder`` and return the libraries built there.

    Raises ``SystemExit`` with mypyc's output if the compilation fails.
    """
    shutil.copytree(root / PACKAGE, folder / PACKAGE, ignore=shutil.ignore_patterns("__pycache__"))
    environment = {"MYPYC_OPT_LEVEL": "3", "MYPYC_DEBUG_LEVEL": "0"} | os.environ
    done = subprocess.run(
        [sys.executable, "-m", "mypyc", "--config-file=", *modules],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"mypyc could not compile:\n{(done.stdout + done.stderr)[-4_000:]}")
    return sorted(path for path in folder.rglob("*") if path.suffix in {".so", ".pyd"} and "build" not in path.parts)
