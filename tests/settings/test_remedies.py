"""The catalogue of modifications: the shipped file, and a user's file that replaces it list by list."""

from __future__ import annotations

from pathlib import Path

import pytest

from crl_stream.core import messages as m
from crl_stream.core.proposer.remedies import KINDS
from crl_stream.errors import ConfigError
from crl_stream.settings import load_remedies
from settings.resolving import resolve


def written(folder: Path, text: str) -> Path:
    file = folder / "own.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_the_shipped_catalogue_recommends_the_guides_example_for_a_security_audit() -> None:
    for kind in KINDS:
        section, temperature = load_remedies().prescribe("security-audit", kind, None)
        assert (section.section, section.operation) == ("Core Identity", "append")
        assert (section.content or "").startswith("Special focus on security vulnerabilities")
        assert (temperature.parameter, temperature.value, temperature.reason) == (
            "temperature",
            0.2,
            "Lower temperature for precise security analysis",
        )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("task_type", "words"), [("security-audit", "security vulnerabilities"), ("api-design", "API")]
)
def test_for_the_task_types_of_the_guide_the_recommendation_is_specific_whatever_goes_wrong(
    task_type: str, words: str, kind: str
) -> None:
    catalogue = load_remedies()
    specific = catalogue.prescribe(task_type, kind, None)  # type: ignore[arg-type]
    general = catalogue.prescribe("anything", kind, None)  # type: ignore[arg-type]
    [section] = [one for one in specific if one.section is not None]
    assert words in (section.content or "")
    assert section.content not in {one.content for one in general}
    assert catalogue.for_task(task_type).focus is not None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("task_type", ["api-design", "code-review", "anything", "security-scan"])
def test_the_shipped_catalogue_has_something_to_try_for_whatever_goes_wrong(task_type: str, kind: str) -> None:
    known = m.VariantConfiguration(model_tier="sonnet", temperature=0.7)
    catalogue = load_remedies()
    assert catalogue.prescribe(task_type, kind, None)  # type: ignore[arg-type]
    assert len(catalogue.prescribe(task_type, kind, known)) >= 2  # type: ignore[arg-type]
    assert all(one.reason for one in catalogue.prescribe(task_type, kind, known))  # type: ignore[arg-type]


def test_a_list_of_ones_own_takes_the_place_of_the_shipped_one_and_the_rest_stays(tmp_path: Path) -> None:
    text = (
        'errors = [{parameter = "temperature", value = 0.0}]\n[tasks."security-audit"]\nfocus = "audit"\n'
        '[tasks."*"]\nslow = []\n'
    )
    own, shipped = load_remedies(written(tmp_path, text)), load_remedies()
    assert [one.value for one in own.prescribe("chat", "errors", None)] == [0.0]
    assert own.failures == shipped.failures
    assert own.tiers == shipped.tiers
    assert own.for_task("security-audit").focus == "audit"
    assert own.prescribe("api-design", "slow", None) == [], "patterns in the user's file come before the shipped ones"


def test_the_setting_names_the_file_and_says_where_it_came_from() -> None:
    settings = resolve('[proposer]\nmodifications_file = "own.toml"\n')
    assert settings.proposer.modifications == Path("own.toml")
    assert settings.origins["proposer.modifications_file"].source == "crl.toml"
    assert resolve().proposer.modifications is None


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("errors = [", "is not TOML"),
        ('errors = [{parameter = "temperature"}]', "a parameter needs a value or a step - at `$.errors[0]`"),
        ('[[tasks.a.any]]\nsection = "x"\noperation = "add"\ncontent = "y"', "Invalid enum value 'add'"),
        ("mistakes = []", "unknown field `mistakes`"),
        ("tasks = 3", "Expected `object`"),
    ],
)
def test_a_file_that_cannot_be_used_is_an_error_that_says_what_is_wrong(
    tmp_path: Path, text: str, complaint: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_remedies(written(tmp_path, text))
    assert complaint in caught.value.message
    assert "own.toml" in caught.value.message
    assert caught.value.hint


def test_a_file_that_is_not_there_is_an_error_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read") as caught:
        load_remedies(tmp_path / "none.toml")
    assert "proposer.modifications_file" in (caught.value.hint or "")


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null", "/proc"])
def test_what_is_no_file_is_no_catalogue_and_is_not_read(path: str) -> None:
    """A crl.toml written by a stranger may name a device or a folder."""
    with pytest.raises(ConfigError, match=r"is not a valid catalogue|cannot be read") as caught:
        load_remedies(Path(path))
    assert caught.value.hint
