"""The true text, or nearly that, at holes as they are in real code: it is shown, and spoils nothing."""

from __future__ import annotations

import pytest

from tests.test_postprocess import accepted

CALLBACKS = [
    # Brackets around a function belong to no definition.
    (
        "a.ts",
        "a(() => {\n  b(() => {\n    <CURSOR>\n",
        "c();\n  });\n});\n",
        "a(() => {\n  b(() => {\n    c();\n  });\n",
    ),
    (
        "a.ts",
        "a(() => {\n  b(() => {\n    c();\n<CURSOR>\n});\n",
        "  });\n",
        "a(() => {\n  b(() => {\n    c();\n  });\n});\n",
    ),
    (
        "a.js",
        "function a() {\n  b.each((v) => {\n    c(v);\n    <CURSOR>\n}\n",
        "d(v);\n  });\n",
        "function a() {\n  b.each((v) => {\n    c(v);\n    d(v);\n  });\n}\n",
    ),
    (
        "a.js",
        "function a() {\n  b.each((v) =>\n    c(v)\n  <CURSOR>\n}\n",
        ")\n",
        "function a() {\n  b.each((v) =>\n    c(v)\n  )\n}\n",
    ),
]


@pytest.mark.parametrize(("name", "source", "text", "expected"), CALLBACKS)
def test_the_truth_is_shown(name: str, source: str, text: str, expected: str) -> None:
    assert accepted(source, text, path=f"/p/{name}") == expected
