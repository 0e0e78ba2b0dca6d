"""Code blocks of the page of recipes."""

from __future__ import annotations

import re

from tests.editors.conftest import ROOT


def recipe(heading: str, language: str) -> str:
    """All blocks of `language` under `heading`."""
    text = (ROOT / "editors" / "recipes" / "README.md").read_text("utf-8")
    section = text.partition(f"\n## {heading}")[2].partition("\n## ")[0]
    found = re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)
    assert found, f"no {language} under {heading}"
    return "\n".join(found)
