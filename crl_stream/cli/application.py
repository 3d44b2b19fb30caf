"""Assembles the commands, and turns every error into two lines and an exit code."""

from __future__ import annotations

import errno
import logging
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

from crl_stream import __version__
from crl_stream.cli.help_groups import GroupedCommands
from crl_stream.cli.session import Session
from crl_stream.cli.streams import drop_output, prepare_streams
from crl_stream.cli.talk import LogLines, complain, end_bars, say
from crl_stream.compiled import is_compiled
from crl_stream.errors import CrlError

INTERRUPTED = 130
TERMINATED = 143
SERVICES = frozenset(("worker", "up", "down", "demo", "broker"))
"""Commands that run processes or belong to a consumer group: they handle SIGTERM themselves."""
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_RIGHT = {errno.EACCES, errno.EPERM, errno.EROFS}
_OTHER_FOLDERS = (
    "make it writable, or choose another with worker.data_dir, broker.data_dir, client.cache_dir or telemetry.folder"
)

app = typer.Typer(
    name="crl",
    cls=GroupedCommands,
    help="A safety layer for fleets of AI agents: watches every variant and rolls back a degraded one.",
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage or setting, 3 differences found, 4 not found, 5 refused by "
    "the monitor, 6 drill failed, 69 Kafka or a worker does not answer, 70 unsafe to continue, 75 another drill is "
    "running, 78 topics do not match the catalog, 130 interrupted, 143 ended by SIGTERM.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"crl {__version__}" + (", compiled" if is_compiled() else ""))
        raise typer.Exit


@app.callback()
def common(
    context: typer.Context,
    config_file: Annotated[
        Path | None, typer.Option("--config", help="Settings file (default: CRL_CONFIG, else crl.toml).")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Override a setting; may be repeated.")
    ] = None,
    verbose: Annotated[
        bool,
        typer.Option("--verbose", "-v", help="Also show library logs and, in crl tail, every SetPolicy."),
    ] = False,
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """Handle the options that all commands of ``crl`` share."""
    if verbose:
        logging.getLogger().addHandler(LogLines())
        logging.getLogger().setLevel(logging.INFO)
    if context.invoked_subcommand in SERVICES and signal.getsignal(signal.SIGTERM) is _terminate:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    context.obj = Session(config_file, settings or [], verbose=verbose)


def _terminate(*_: Any) -> None:
    """Exit cleanly and quietly on SIGTERM; a second SIGTERM ends the process at once."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # The signal can arrive between any two instructions. Warnings about interrupted work would only be noise.
    warnings.simplefilter("ignore")
    sys.unraisablehook = _say_nothing
    raise SystemExit(TERMINATED)


def _say_nothing(_: Any) -> None:
    """Ignore the errors that Python reports during cleanup."""


def _help_for(error: TyperException) -> str:
    """Return a hint that names the help of the misused command."""
    context = getattr(error, "ctx", None)
    if context is None or context.parent is None:
        return "crl --help lists the commands; crl COMMAND --help lists a command's options"
    path = " ".join(["crl", *context.command_path.split()[len(context.find_root().command_path.split()) :]])
    lists = "lists its commands" if hasattr(context.command, "commands") else "lists its arguments and options"
    return f"{path} --help {lists}"


def main(arguments: Sequence[str] | None = None) -> Any:
    """Run ``crl`` and end the process with the documented exit code."""
    signal.signal(signal.SIGTERM, _terminate)
    # The search for plugins would read the metadata of every installed package.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    prepare_streams()
    # Without a handler, Python would write library warnings to stderr next to our clearer message. A worker installs
    # its own handlers.
    logging.getLogger().addHandler(logging.NullHandler())
    try:
        code = app(args=None if arguments is None else list(arguments), standalone_mode=False)
        if code == INTERRUPTED:  # typer turns Ctrl-C into an exit code
            complain("Interrupted.", None)
    except CrlError as error:
        complain(error.message, error.hint)
        code = error.exit_code
    except typer.Exit as leaving:
        code = leaving.exit_code
    except TyperException as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # a group without a command: show its help, not an error
            say(error.format_message())
        else:
            complain(error.format_message(), _help_for(error))
        code = 2
    except (typer.Abort, KeyboardInterrupt):
        complain("Interrupted.", None)
        code = INTERRUPTED
    except (BrokenPipeError, SystemExit) as leaving:
        # typer and rich turn a broken pipe into SystemExit.
        if not isinstance(leaving, BrokenPipeError) and not isinstance(leaving.__context__, BrokenPipeError):
            raise
        # The reader has closed the pipe, as `head` does; nothing is wrong.
        drop_output()
        code = 0
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            complain(f"A write failed: {error.strerror}.", "free some space, or write elsewhere")
            drop_output()
            sys.exit(1)
        if isinstance(error, OSError) and error.errno in _NO_RIGHT and error.filename:
            complain(f"{error.filename} cannot be used: {error.strerror}.", _OTHER_FOLDERS)
            sys.exit(1)
        # A bug in crl: the user sees one sentence, and a file keeps the traceback for the developers.
        import tempfile

        with tempfile.NamedTemporaryFile("w", prefix="crl-", suffix=".txt", delete=False, encoding="utf-8") as file:
            traceback.print_exc(file=file)
        complain(f"This is a bug in crl: {type(error).__name__}: {error}", f"report it and attach {file.name}")
        code = 1
    end_bars()
    try:
        sys.stdout.flush()
    except OSError:  # The error has been reported; unwritten output must not become a traceback at exit.
        drop_output()
    sys.exit(code if isinstance(code, int) else 0)
