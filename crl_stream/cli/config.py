"""``crl config``: the settings, where each comes from, and a file to start with."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import SecretStr

from crl_stream.cli.talk import say, show, show_json, show_table
from crl_stream.errors import ConfigError, NotFound, UsageError
from crl_stream.settings import PROFILES, load_remedies, load_settings, trust
from crl_stream.settings.fields import Secret
from crl_stream.settings.names import variable_of
from crl_stream.settings.profiles import MEANING
from crl_stream.settings.settings_file import FILE, OVERRIDES, SettingsFile
from crl_stream.settings.template import render
from crl_stream.settings.trust import is_harmless

app = typer.Typer(help="Show, check and create settings.", no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def show_settings(
    context: typer.Context,
    env: Annotated[bool, typer.Option("--env", help="Also show the environment variable of each setting.")] = False,
    json: Json = False,
) -> None:
    """Show every setting with its value and where it comes from."""
    origins = context.obj.settings.origins
    entries = {name: {"value": _plain(o.value), "origin": o.source} for name, o in origins.items()}
    if json:
        settings = context.obj.settings
        page: dict[str, Any] = {"settings": entries, "policy_hash": settings.policies.digest()}
        if (untrusted := settings.untrusted) is not None:
            page["untrusted"] = {"path": str(untrusted.path.resolve()), "ignored": list(untrusted.names)}
        show_json(page)
        return
    rows = [(name, entry["value"], entry["origin"], _variable(name) if env else "") for name, entry in entries.items()]
    show_table(("setting", "value", "origin", "variable" if env else ""), rows, empty="No settings.")


app.registered_commands[-1].name = "show"


@app.command()
def init(
    path: Annotated[Path, typer.Argument(help="File to write.")] = Path(FILE),
    profile: Annotated[str, typer.Option(help=f"One of {', '.join(PROFILES)}.")] = "production",
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    json: Json = False,
) -> None:
    """Write a crl.toml that explains the profile and every choice."""
    if profile not in PROFILES:
        raise UsageError(f"There is no profile {profile}.", hint=f"one of {', '.join(PROFILES)}")
    if path.exists() and not force:
        raise UsageError(f"{path} already exists.", hint="--force replaces it")
    try:
        path.write_text(render(profile), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}.", hint="name another file") from error
    settings = load_settings(file=path, environment={})
    if json:
        digest = settings.policies.digest()
        show_json({"path": str(path), "profile": profile, "meaning": MEANING[profile], "policy_hash": digest})
        return
    say(
        f"wrote {path}; see the settings in force with crl config show; "
        "if you set Kafka or ports in it, run crl config trust afterwards"
    )
    say(f"profile {profile}: {MEANING[profile]}")


@app.command()
def validate(
    context: typer.Context,
    path: Annotated[Path | None, typer.Argument(help="File to check. Default: the settings file in use.")] = None,
    json: Json = False,
) -> None:
    """Check a settings file. If it is wrong, say why and exit with code 2."""
    found = SettingsFile.find(path or context.obj.config_file, os.environ)
    # A named file is checked completely, trusted or not.
    settings = load_settings(file=found.path if found else None, flags=context.obj.flags)
    for name, channel in settings.disabled_notifiers.items():
        raise ConfigError(f"notifiers.{name} is disabled: {channel.reason}.", hint=channel.hint)
    for name, bridge in settings.disabled_bridges.items():
        raise ConfigError(f"bridges.{name} is disabled: {bridge.reason}.", hint=bridge.hint)
    load_remedies(settings.proposer.modifications)
    if json:
        show_json({"valid": True, "profile": settings.profile, "policy_hash": settings.policies.digest()})
        return
    show(f"valid: profile {settings.profile}, policy {settings.policies.digest()}")


@app.command("trust")
def trust_file(
    path: Annotated[
        Path | None, typer.Argument(help="File to trust. Default: crl.toml in the current folder.", show_default=False)
    ] = None,
    listed: Annotated[bool, typer.Option("--list", help="List the trusted files.")] = False,
    revoked: Annotated[bool, typer.Option("--revoke", help="Stop trusting the file.")] = False,
    json: Json = False,
) -> None:
    """Let a crl.toml in the current folder also set addresses, credentials, folders and notifiers.

    Limits and policies apply from any crl.toml. All other settings apply only while the file has the path and content
    that you trusted; after a change, trust it again. A file named with --config is always trusted.
    """
    if listed:
        _list_trusted(json=json)
    elif revoked:
        place = (path or Path(FILE)).resolve()
        if not trust.revoke(place):
            raise NotFound(f"{place} is not trusted.", hint="crl config trust --list shows the trusted files")
        if json:
            show_json({"path": str(place), "trusted": False})
        else:
            say(f"{place} is no longer trusted")
    else:
        _trust(path or Path(FILE), json=json)


def _trust(path: Path, *, json: bool) -> None:
    if not path.is_file():
        raise NotFound(f"There is no file {path}.", hint="create one with crl config init")
    found = SettingsFile.find(path, {})
    assert found is not None
    names = [name.replace("\t", ".") for name, _ in found.layer() if not is_harmless(name)]
    load_settings(file=path, environment={})  # an invalid file is not trusted
    entry = trust.trust(path, found.content)
    if json:
        show_json({"path": entry.path, "sha256": entry.sha256, "trusted": True, "accepted": names})
        return
    effect = f"these settings now take effect: {', '.join(names)}" if names else "it has no settings that needed trust"
    say(f"{entry.path} is trusted until it changes; {effect}")


def _list_trusted(*, json: bool) -> None:
    entries = [entry._asdict() | {"state": entry.state()} for entry in trust.trusted()]
    if json:
        show_json({"trusted": entries})
        return
    rows = [(entry["path"], entry["state"], entry["since"], entry["sha256"][:12]) for entry in entries]
    show_table(("file", "state", "since", "sha256"), rows, empty="No file is trusted. Trust one with crl config trust.")


def _variable(name: str) -> str:
    """Return the environment variable of a setting; overrides for agents and tasks have none."""
    return "" if name.startswith(OVERRIDES) else variable_of(name.replace("-", "_"))


def _plain(value: Any) -> Any:
    if isinstance(value, Secret | SecretStr):
        return "set" if value.get_secret_value() else ""
    return value if isinstance(value, bool | int | float | str) or value is None else str(value)
