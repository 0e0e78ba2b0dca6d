"""Every setting and its default, on one screen.

The same keys serve the command line, the client's settings (section `pass-lsp`)
and the TOML files. Precedence: command line, client, workspace `.pass-lsp.toml`,
user `config.toml`. A workspace file may not set the keys in `USER_ONLY`, so that
a cloned repository cannot choose what runs here, where code is sent or what is recorded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

from pass_lsp.domain import STRATEGIES, Strategy

OF_THE_ENGINE = frozenset(
    {"model", "engine", "engine_kind", "engine_template", "device", "dtype", "lookahead", "trust_remote_code"}
)
USER_ONLY = OF_THE_ENGINE | {"ledger"}
KEYWORDS = {"model": ("", "embedded", "none"), "lookahead": ("", "auto", "none", "random")}
"""Settings that may name a folder, and the words that stand for something else, whatever folders there are."""
MOST = {"alternatives": 16}
"""The largest value of a number that costs memory; of the others `MOST_OF_ANY`, which is as good as no bound."""
MOST_OF_ANY = 1_000_000
SOURCES = ("path", "definitions", "edits", "similar", "open")
"""What a prompt may say beside the document: its path, and what others have, each by one way to find it."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a user may set. Token counts are of the model's own tokenizer."""

    model: str = "embedded"
    device: str = "auto"
    dtype: str = "auto"
    lookahead: str = "auto"
    trust_remote_code: bool = False
    engine: str = ""
    engine_kind: str = "auto"
    engine_template: str = "auto"
    strategy: Strategy = "auto"
    enabled: bool = True
    disabled_languages: tuple[str, ...] = ()
    prompt_tokens: int = 2048
    single_line_tokens: int = 32
    multi_line_tokens: int = 96
    first_text_ms: int = 250
    deadline_ms: int = 1000
    manual_deadline_ms: int = 5000
    debounce_ms: int = 75
    alternatives: int = 3
    ahead: bool = True
    ahead_on_battery: bool = False
    ledger: bool = True
    hide_unsure: bool = True
    token_healing: bool = True
    in_comments: bool = True
    sources: tuple[str, ...] = SOURCES

    def off_for(self, language: str) -> bool:
        """Whether suggestions are off in documents of `language`."""
        return not self.enabled or language in self.disabled_languages

    def updated(self, values: Mapping[str, object], *, trusted: bool = True) -> tuple[Settings, list[str]]:
        """New settings with `values` over these, and one sentence for each value that was refused.

        Keys may be spelled `max_tokens` or `maxTokens`. A bad value leaves what was set before, and so does None, which
        is how a client says that nothing is set.
        """
        types = {field.name: type(getattr(self, field.name)) for field in fields(self)}
        good: dict[str, object] = {}
        complaints: list[str] = []
        unknown: list[str] = []
        for spelled, value in values.items():
            key = "".join(f"_{c.lower()}" if c.isupper() else c for c in spelled).replace("-", "_")
            if key not in types:
                unknown.append(spelled)
            elif value is None:
                continue
            elif not trusted and key in USER_ONLY:
                complaints.append(
                    f"Setting {spelled!r} is ignored in a workspace file; put it into your user settings."
                )
            elif (wanted := _converted(value, types[key], most := MOST.get(key, MOST_OF_ANY))) is None:
                complaints.append(f"Setting {spelled!r} must be {_KINDS[types[key]].format(most)}; it is ignored.")
            elif key == "strategy" and wanted not in STRATEGIES:
                complaints.append(f"Setting {spelled!r} must be one of {', '.join(STRATEGIES)}; it is ignored.")
            elif key == "sources" and not set(SOURCES).issuperset(wanted):  # type: ignore[arg-type]
                complaints.append(f"Setting {spelled!r} may list {', '.join(SOURCES)}; it is ignored.")
            else:
                good[key] = wanted
        if unknown:
            more = f" and {len(unknown) - 1} more are" if unknown[1:] else " is"
            complaints.append(f"Unknown setting {unknown[0][:40]!r}{more} ignored; see the README for the list.")
        return replace(self, **good), complaints  # type: ignore[arg-type]


_KINDS = {
    str: "a text",
    bool: "true or false",
    int: "a whole number from 0 to {}",
    tuple: "a list of texts",
}


def _converted(value: object, wanted: type, most: int) -> object | None:
    if wanted is tuple:
        ok = isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value)
        return tuple(value) if ok else None  # type: ignore[arg-type]
    if wanted is int:
        return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most else None
    return value if isinstance(value, wanted) else None
