"""``crl config``: the settings, where each comes from, and a file to start with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import SecretStr

from crl_stream.cli.talk import say, show, show_json, show_table
from crl_stream.errors import UsageError
from crl_stream.settings import PROFILES, load_remedies, load_settings
from crl_stream.settings.layers import FILE, OVERRIDES, PREFIX
from crl_stream.settings.template import render

app = typer.Typer(help="The settings and where each comes from.", no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def show_settings(
    context: typer.Context,
    env: Annotated[bool, typer.Option("--env", help="With the name of each environment variable.")] = False,
    json: Json = False,
) -> None:
    """Show every setting, its value and its origin."""
    origins = context.obj.settings.origins
    entries = {name: {"value": _plain(o.value), "origin": o.source} for name, o in origins.items()}
    if json:
        show_json({"settings": entries, "policy_hash": context.obj.settings.policies.digest()})
        return
    rows = [(name, entry["value"], entry["origin"], _variable(name) if env else "") for name, entry in entries.items()]
    show_table(("setting", "value", "origin", "variable" if env else ""), rows, empty="No settings.")


app.registered_commands[-1].name = "show"


@app.command()
def init(
    path: Annotated[Path, typer.Argument(help="File to write.")] = Path(FILE),
    profile: Annotated[str, typer.Option(help=f"One of {', '.join(PROFILES)}.")] = "production",
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    json: Json = False,
) -> None:
    """Write a crl.toml to start with: the profile and what it means, every choice explained."""
    if profile not in PROFILES:
        raise UsageError(f"There is no profile {profile}.", hint=f"one of {', '.join(PROFILES)}")
    if path.exists() and not force:
        raise UsageError(f"{path} exists.", hint="--force replaces it")
    try:
        path.write_text(render(profile), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}.", hint="name another file") from error
    settings = load_settings(file=path, environment={})
    if json:
        show_json({"path": str(path), "profile": profile, "policy_hash": settings.policies.digest()})
        return
    say(f"{path} is written; crl config show says what is in force")


@app.command()
def validate(
    context: typer.Context,
    path: Annotated[Path | None, typer.Argument(help="File; default: the one in force.")] = None,
    json: Json = False,
) -> None:
    """Check a settings file; exit code 2 with the reason when it is not right."""
    settings = load_settings(file=path or context.obj.config_file, flags=context.obj.flags)
    load_remedies(settings.proposer.modifications)
    if json:
        show_json({"valid": True, "profile": settings.profile, "policy_hash": settings.policies.digest()})
        return
    show(f"valid: profile {settings.profile}, policy {settings.policies.digest()}")


def _variable(name: str) -> str:
    """The environment variable of a setting; agents and tasks are overridden in the file or by a flag only."""
    return "" if name.startswith(OVERRIDES) else PREFIX + name.replace(".", "_").replace("-", "_").upper()


def _plain(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return "set" if value.get_secret_value() else ""
    return value if isinstance(value, bool | int | float | str) or value is None else str(value)
