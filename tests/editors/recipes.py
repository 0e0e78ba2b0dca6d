"""Code blocks of the page of recipes."""

from __future__ import annotations

import re

from tests.editors.conftest import ROOT


def recipe(heading: str, language: str) -> str:
    """The first block of `language` under `heading`."""
    text = (ROOT / "editors" / "recipes" / "README.md").read_text("utf-8")
    section = text.partition(f"\n## {heading}")[2].partition("\n## ")[0]
    found = re.search(rf"```{language}\n(.*?)```", section, re.DOTALL)
    assert found, f"no {language} under {heading}"
    return found[1]
