"""A run's JSON document as tables: every list of rows is one, everything plain is a line of facts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Rows = list[dict[str, Any]]


def tables(found: Mapping[str, Any]) -> Iterator[tuple[str, Rows]]:
    """(name, rows) of every table of a document, in its order; a document of plain values is a table of one row."""
    named = [(key, _by_length(value)) for key, value in found.items() if _is_table(value)]
    yield from named or [("figures", [{key: value for key, value in found.items() if key != "bench"}])]


def facts(found: Mapping[str, Any]) -> str:
    """The plain values in one line; empty where they are the table themselves."""
    if not any(_is_table(value) for value in found.values()):
        return ""
    plain = {key: value for key, value in found.items() if key != "bench" and not _is_table(value)}
    for key in [key for key, value in plain.items() if isinstance(value, Mapping)]:
        plain |= {f"{key} {name}": value for name, value in plain.pop(key).items()}
    return ", ".join(f"{key.replace('_', ' ')} {shown(value)}" for key, value in plain.items())


def shown(value: Any) -> str:
    """One cell."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return " ".join(map(shown, value))
    return str(value)


def markdown(rows: Rows) -> list[str]:
    """The lines of a table, none without rows; columns are those of the first row."""
    if not rows:
        return []
    heading = list(rows[0])
    cells = [[shown(row.get(key)) for key in heading] for row in rows]
    return [f"| {' | '.join(line)} |" for line in (heading, ["---"] * len(heading), *cells)]


def _by_length(rows: Rows) -> Rows:
    """Rows of the study with a column for each L, "tokens a forward (speed-up)"; other rows as they are."""
    if "ms_a_token" not in rows[0] or "L" not in rows[0]:
        return rows
    lengths = sorted({row["L"] for row in rows if row["L"]})
    wide: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in rows:
        names = {key: row[key] for key in ("text", "sampling", "method")}
        one = wide.setdefault(tuple(names.values()), {**names, "ms": None, **{f"L={n}": None for n in lengths}})
        if row["L"]:
            one[f"L={row['L']}"] = f"{row['tokens_per_forward']:.2f} ({shown(row['speedup'])}×)"
        else:
            one["ms"] = row["ms_a_token"]
    return list(wide.values())


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)
