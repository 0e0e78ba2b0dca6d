"""Settings: what is taken, what is refused, and what a workspace may not say."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from pass_lsp.config import USER_ONLY, Settings

GOOD: dict[str, Any] = {
    "model": "org/name",
    "device": "cuda",
    "dtype": "int8",
    "lookahead": "none",
    "trust_remote_code": True,
    "engine": "http://localhost:8000",
    "engine_kind": "vllm",
    "engine_template": "starcoder2",
    "strategy": "pass",
    "enabled": False,
    "disabled_languages": ["markdown", "rust"],
    "prompt_tokens": 512,
    "single_line_tokens": 0,
    "multi_line_tokens": 7,
    "first_text_ms": 100,
    "deadline_ms": 250,
    "manual_deadline_ms": 2500,
    "debounce_ms": 0,
    "alternatives": 5,
    "ahead": False,
    "ahead_on_battery": True,
    "ledger": False,
    "hide_unsure": False,
    "token_healing": False,
    "in_comments": False,
    "sources": ["path", "similar"],
}


def camel(key: str) -> str:
    first, *rest = key.split("_")
    return first + "".join(word.title() for word in rest)


def test_every_setting_has_a_case_here() -> None:
    assert GOOD.keys() == {field.name for field in fields(Settings)}
    assert GOOD.keys() > USER_ONLY


@pytest.mark.parametrize("spelled", [str, camel, lambda key: key.replace("_", "-")])
@pytest.mark.parametrize("key", GOOD)
def test_a_good_value_is_taken_in_any_spelling(key: str, spelled: Any) -> None:
    settings, complaints = Settings().updated({spelled(key): GOOD[key]})
    wanted = tuple(GOOD[key]) if isinstance(GOOD[key], list) else GOOD[key]
    assert complaints == []
    assert getattr(settings, key) == wanted != getattr(Settings(), key)


@pytest.mark.parametrize(
    "values",
    [
        {"model": 3},
        {"trust_remote_code": "yes"},
        {"enabled": 1},
        {"strategy": "fastest"},
        {"disabled_languages": "rust"},
        {"disabled_languages": [1]},
        {"prompt_tokens": -1},
        {"prompt_tokens": 1.5},
        {"prompt_tokens": True},
        {"deadline_ms": 10**400},  # more than a float holds
        {"alternatives": 17},
        {"promptTokens": "512"},
        {"no_such_setting": 1},
    ],
)
def test_a_bad_value_keeps_the_default_and_is_told_in_one_sentence(values: dict[str, Any]) -> None:
    settings, complaints = Settings().updated(values)
    assert settings == Settings()
    [complaint] = complaints
    assert repr(next(iter(values))) in complaint
    assert complaint.endswith("; see the README for the list." if "Unknown" in complaint else "; it is ignored.")


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"prompt_tokens": -1}, "must be a whole number from 0 to 1000000"),
        ({"alternatives": 99}, "must be a whole number from 0 to 16"),
        ({"disabled_languages": "rust"}, "must be a list of texts"),
        ({"enabled": 1}, "must be true or false"),
        ({"model": 3}, "must be a text"),
    ],
)
def test_what_a_value_must_be_is_said_in_words(values: dict[str, Any], says: str) -> None:
    assert says in Settings().updated(values)[1][0]


@pytest.mark.parametrize("key", sorted(GOOD))
def test_null_is_what_was_not_said(key: str) -> None:
    before, _ = Settings().updated({key: GOOD[key]})
    assert before.updated({camel(key): None}) == (before, [])


def test_many_unknown_settings_are_one_sentence() -> None:
    _, complaints = Settings().updated({"x" * 1000 + str(number): 1 for number in range(1000)})
    [complaint] = complaints
    assert "and 999 more are ignored" in complaint and len(complaint) < 200


def test_one_bad_value_does_not_spoil_the_others() -> None:
    settings, complaints = Settings().updated({"prompt_tokens": -1, "strategy": "pass", "what": 0})
    assert settings == Settings(strategy="pass")
    assert len(complaints) == 2


def test_an_untrusted_file_sets_what_is_harmless_only() -> None:
    settings, complaints = Settings().updated(GOOD, trusted=False)
    assert len(complaints) == len(USER_ONLY)
    for key in GOOD:
        changed = getattr(settings, key) != getattr(Settings(), key)
        assert changed is (key not in USER_ONLY)


@pytest.mark.parametrize("key", sorted(USER_ONLY))
def test_no_spelling_gets_around_that(key: str) -> None:
    for spelled in (key, camel(key), key.replace("_", "-")):
        settings, complaints = Settings().updated({spelled: GOOD[key]}, trusted=False)
        assert settings == Settings() and len(complaints) == 1


def test_settings_are_frozen_and_updates_build_on_one_another() -> None:
    first, _ = Settings().updated({"prompt_tokens": 100})
    second, _ = first.updated({"strategy": "pass"})
    assert (second.prompt_tokens, second.strategy) == (100, "pass")
    with pytest.raises(AttributeError):
        first.model = "other"  # type: ignore[misc]
