"""`bench infill`: how often the model writes what was there, beside floors that need no model.

Lines, blocks and what stands in brackets are asked for as an editor asks, through the whole
completion flow. Random spans and holes from a file end where no editor would ask, so they go
to the model alone, in its own fill-in-the-middle form, and end where it ends them.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tqdm import tqdm

from pass_lsp import prompt
from pass_lsp.bench.heldout import APART, BRACKETS, MID_LINE, SPAN
from pass_lsp.bench.holes import GIVEN, Hole
from pass_lsp.bench.sandbox import run_program
from pass_lsp.completion import complete_document
from pass_lsp.config import Settings
from pass_lsp.documents.document import Document
from pass_lsp.domain import Context, Engine, Mode, SamplingParams
from pass_lsp.metrics.gate import hopeless
from pass_lsp.train.filters import parses
from pass_lsp.train.prose import prose

Z = 1.96
SETTINGS = Settings(deadline_ms=0)
MODEL, HIDDEN = "model", "model, suffix hidden"

LEFT_OUT = (0.0, 0.2, 0.4, 0.5, 0.6, 0.8)
"""Shares of the answers, those left out of which the model is least sure."""

Written = tuple[str, float | None, int]
"""What was written, the log-probability of its first tokens where there is one, and how many characters right of the
cursor it replaces.
"""
Fill = Callable[[Hole], Written]


@dataclass(frozen=True, slots=True)
class Answer:
    """What one contender wrote into one hole, judged. `prose`: it begins with a comment or a docstring.

    `log_prob` is there where a model wrote something that an editor would show.
    """

    hole: Hole
    first_line: bool
    exact: bool
    similarity: float
    parses: bool
    prose: bool
    passed: bool | None
    log_prob: float | None = None


def bench_infill(engine: Engine, holes: Sequence[Hole], against: tuple[str, Engine] | None = None) -> dict[str, Any]:
    """Every contender on the same holes: `rows` over all of them, `by_kind` over each kind.

    Holes in brackets, in begun statements and amid a line have figures of their own alone, so that those over all mean
    what they did without such.
    Shares lie between 0 and 1, intervals are Wilson's at 95 %. `when_unsure_ones_are_left_out` tells what
    hiding them would bring, and what it would cost; `hopeless` which ones an editor does not show unasked.
    `against` is another model's name and engine; `better` and `worse` then count the holes that only one of the
    two fills exactly.
    """
    contenders = _contenders(engine, against)
    answers = {
        name: [judge(hole, *fill(hole)) for hole in tqdm(holes, desc=name, unit="hole")]
        for name, fill in contenders.items()
    }
    if any(hole.test for hole in holes):
        answers["what was there"] = [judge(hole, hole.middle) for hole in holes]
    over_all = {name: [each for each in given if each.hole.kind not in APART] for name, given in answers.items()}
    other = against and f"against {against[0]}"
    found = _counted(over_all, other) | {"multi_line": sum(answer.hole.multi_line for answer in over_all[MODEL])}
    for kind in APART:
        apart = {name: [each for each in given if each.hole.kind == kind] for name, given in answers.items()}
        if apart[MODEL]:
            found[kind.replace("-", "_")] = _counted(apart, other)
    if any(hole.test for hole in holes):
        found["network"] = run_program("").network
    found["rows"] = [_row(name, given) for name, given in over_all.items() if given]
    if sure := [answer for answer in over_all[MODEL] if answer.log_prob is not None]:
        found["when_unsure_ones_are_left_out"] = _left_out(sure)
        found["hopeless"] = _hopeless(sure)
    kinds = sorted({hole.kind for hole in holes})
    found["by_kind"] = [
        {"kind": kind, "holes": len(of_kind), **_row(name, of_kind)}
        for kind in (kinds if len(kinds) > 1 else ())
        for name, given in answers.items()
        if (of_kind := [answer for answer in given if answer.hole.kind == kind])
    ]
    return found


def _counted(answers: Mapping[str, Sequence[Answer]], other: str | None) -> dict[str, Any]:
    """How many holes there are, and how many of them only one of the two models fills exactly."""
    ours = answers[MODEL]
    found = {"holes": len(ours)}
    if other is not None:
        pairs = list(zip(ours, answers[other], strict=True))
        found["better"] = sum(ours.exact and not theirs.exact for ours, theirs in pairs)
        found["worse"] = sum(theirs.exact and not ours.exact for ours, theirs in pairs)
    return found


def judge(hole: Hole, text: str, log_prob: float | None = None, replaced: int = 0) -> Answer:
    """Compare with what was there; white space at both ends does not count. Tests are run in the sandbox.

    `replaced` characters right of the cursor go when `text` comes: closers that it says itself are right then.
    """
    whole, said = hole.prefix + text + hole.suffix[replaced:], hole.suffix[:replaced].strip()
    if text.rstrip().endswith(said):
        middle, text = hole.middle.strip(), text.rstrip().removesuffix(said)
    else:
        middle = (hole.middle + said).strip()
    # One that does not parse cannot pass either.
    valid = parses(whole)
    return Answer(
        hole,
        _first_line(middle) == _first_line(text),
        middle == text.strip(),
        difflib.SequenceMatcher(None, middle, text.strip(), autojunk=False).ratio(),
        valid,
        any(start == 0 for start, _ in prose(text.strip())),
        (valid and run_program(f"{whole}\n{hole.test}").passed) if hole.test else None,
        log_prob,
    )


def wilson(hits: int, total: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927)."""
    if not total:
        return 0.0, 1.0
    share, spread = hits / total, Z * Z / total
    middle = (share + spread / 2) / (1 + spread)
    half = Z * math.sqrt(share * (1 - share) / total + spread / (4 * total)) / (1 + spread)
    return max(0.0, middle - half), min(1.0, middle + half)


def _contenders(engine: Engine, against: tuple[str, Engine] | None) -> dict[str, Fill]:
    contenders: dict[str, Fill] = {
        MODEL: lambda hole: _completed(engine, hole, hole.suffix),
        HIDDEN: lambda hole: _completed(engine, hole, _line_rest(hole)),
    }
    if against is not None:
        name, other = against
        contenders[f"against {name}"] = lambda hole: _completed(other, hole, hole.suffix)
    return contenders | {
        "nothing": lambda hole: ("", None, 0),
        "previous line again": lambda hole: (hole.prefix.rstrip().rpartition("\n")[2].strip(), None, 0),
        "next line": lambda hole: (hole.suffix.strip().partition("\n")[0].strip(), None, 0),
    }


def _completed(engine: Engine, hole: Hole, suffix: str) -> Written:
    if hole.kind in (SPAN, GIVEN):
        return _infilled(engine, hole, suffix), None, 0
    document = Document("", hole.prefix + suffix, language="python", path=hole.path)
    shown = complete_document(document, len(hole.prefix), engine, SETTINGS, least_log_prob=-math.inf).completion
    return (shown.text, shown.log_prob, shown.end - len(hole.prefix)) if shown else ("", None, 0)


def _line_rest(hole: Hole) -> str:
    """What stays of the suffix where it is hidden: the closers that an editor has put there, and the line's rest."""
    return hole.suffix.partition("\n")[0] if hole.kind in (BRACKETS, MID_LINE) else ""


def _infilled(engine: Engine, hole: Hole, suffix: str) -> str:
    """The model's own answer to its own form of the question, greedily, to its own end."""
    context = Context(hole.prefix, suffix, Mode.MULTI_LINE, path=hole.path, language="python")
    room = prompt.room(engine, SETTINGS)
    question = prompt.render(context, prompt.template_for(engine.tokenizer), engine.tokenizer, room)
    params = SamplingParams(max_new_tokens=SETTINGS.multi_line_tokens, stop_ids=question.stop_ids)
    generation = engine.generate(question.token_ids, params)
    return engine.tokenizer.decode(generation.token_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def _row(name: str, answers: Sequence[Answer]) -> dict[str, Any]:
    count = len(answers)
    first = sum(answer.first_line for answer in answers)
    exact = sum(answer.exact for answer in answers)
    row = {
        "contender": name,
        "first_line_exact": round(first / count, 3),
        "interval": _interval(first, count),
        "exact": round(exact / count, 3),
        "exact_interval": _interval(exact, count),
        "edit_similarity": round(sum(answer.similarity for answer in answers) / count, 3),
        "parses": round(sum(answer.parses for answer in answers) / count, 3),
        "prose": round(sum(answer.prose for answer in answers) / count, 3),
    }
    tested = [answer.passed for answer in answers if answer.passed is not None]
    if tested:
        row |= {"passed": round(sum(tested) / len(tested), 3), "passed_interval": _interval(sum(tested), len(tested))}
    return row


def _left_out(answers: Sequence[Answer]) -> list[dict[str, Any]]:
    """How many first lines are right among the answers that are left, and how many of the right ones are left."""
    ordered = sorted(answers, key=lambda answer: answer.log_prob or 0.0)
    right = sum(answer.first_line for answer in ordered)
    rows: list[dict[str, Any]] = []
    for share in LEFT_OUT:
        left = ordered[int(share * len(ordered)) :]
        hits = sum(answer.first_line for answer in left)
        row = {"left_out": share, "answers": len(left), "first_line_exact": round(hits / len(left), 3)}
        row |= {"interval": _interval(hits, len(left)), "of_the_right_ones": round(hits / max(right, 1), 3)}
        rows.append(row)
    return rows


def _hopeless(answers: Sequence[Answer]) -> dict[str, Any] | None:
    """What an editor does not show unasked, by this measurement (see `metrics.gate`)."""
    found = hopeless((answer.log_prob or 0.0, answer.first_line) for answer in answers)
    if found is None:
        return None
    right = sum(answer.first_line for answer in answers)
    return {
        "below": round(found.least, 2),
        "answers": found.shown,
        "of_all": round(found.shown / len(answers), 3),
        "first_line_exact": round(found.taken / found.shown, 3),
        "interval": _interval(found.taken, found.shown),
        "of_the_right_ones": round(found.taken / max(right, 1), 3),
    }


def _interval(hits: int, total: int) -> list[float]:
    return [round(bound, 3) for bound in wilson(hits, total)]


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0].strip()
