"""Rounds: every contender decodes every task in turn, again and again; a figure is the median over rounds.

Within a round the contenders take turns task by task, beginning with another one each time, so
that what else the machine does meets all of them alike. Speed-ups are ratios within a round.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tqdm import tqdm

from pass_lsp.bench.contenders import GENERATE, REFERENCE, Answer, Contender
from pass_lsp.bench.prompts import Task

MAX_POSITIONS = 8


@dataclass
class Score:
    """What one contender did: `rounds[r]` holds its answers to all tasks, in order."""

    rounds: list[list[Answer]] = field(default_factory=list)

    @property
    def answers(self) -> list[Answer]:
        """The last round's."""
        return self.rounds[-1]

    @property
    def seconds(self) -> list[float]:
        """Seconds a token after the first, by round; answers that ended at once say nothing of it."""
        return [sum(a.rest for a in r if a.late) / max(1, sum(a.late for a in r)) for r in self.rounds]

    @property
    def acceptance(self) -> list[float]:
        """`[j]`: how often drafts 1 … j+1 were all accepted where so many were made."""
        steps = [step for answer in self.answers for step in answer.steps if step.drafted]
        found = []
        for place in range(1, MAX_POSITIONS + 1):
            made = [step.accepted >= place for step in steps if step.drafted >= place]
            found += [round(statistics.mean(made), 3)] if made else []
        return found


def measure(contenders: Mapping[str, Contender], tasks: Sequence[Task], repeats: int, what: str) -> dict[str, Score]:
    """The score of each contender; the seed of a task is its number."""
    names = list(contenders)
    scores = {name: Score() for name in names}
    for run in contenders.values():  # nobody's first call counts
        run(tasks[0], 0)
    bar = tqdm(total=repeats * len(tasks) * len(names), desc=what, unit="answer")
    for number in range(repeats):
        for score in scores.values():
            score.rounds.append([])
        for seed, task in enumerate(tasks):
            first = (number + seed) % len(names)
            for name in (*names[first:], *names[:first]):
                scores[name].rounds[-1].append(contenders[name](task, seed))
                bar.update()
    bar.close()
    return scores


def rows_of(scores: Mapping[str, Score]) -> list[dict[str, Any]]:
    """A row a contender: speed, speed-ups over `autoregressive` and over `generate`, tokens a forward, acceptance."""
    return [_row(name, score, scores) for name, score in scores.items()]


def _row(name: str, score: Score, scores: Mapping[str, Score]) -> dict[str, Any]:
    answers = score.answers
    drafted = sum(step.drafted for answer in answers for step in answer.steps)
    accepted = sum(step.accepted for answer in answers for step in answer.steps)
    same = [a.token_ids == b.token_ids for a, b in zip(answers, scores[REFERENCE].answers, strict=True)]
    return {
        "contender": name,
        "tokens_per_second": _rounded(1 / max(statistics.median(score.seconds), 1e-9), 1),
        "speedup": _ratio(scores[REFERENCE], score),
        "against_generate": _ratio(scores[GENERATE], score) if GENERATE in scores else None,
        "first_token_ms": _rounded(1000 * statistics.median(a.first for r in score.rounds for a in r), 1),
        "tokens_per_forward": _rounded(sum(a.tokens for a in answers) / max(1, sum(a.forwards for a in answers)), 3),
        "repeated_8grams": _rounded(statistics.mean(repeated_share(a.token_ids) for a in answers), 3),
        "accepted": _rounded(accepted / drafted, 3) if drafted else None,
        "acceptance": score.acceptance or None,
        "same_as_reference": _rounded(statistics.mean(same), 2) if answers[0].steps else None,
    }


def _ratio(base: Score, score: Score) -> float | None:
    ratios = [theirs / mine for theirs, mine in zip(base.seconds, score.seconds, strict=True) if mine]
    return round(statistics.median(ratios), 2) if ratios else None


def _rounded(value: float, digits: int) -> float:
    return round(float(value), digits)


def repeated_share(token_ids: Sequence[int], n: int = 8) -> float:
    """The share of n-grams of `token_ids` that occurred before in it."""
    grams = [tuple(token_ids[i : i + n]) for i in range(len(token_ids) - n + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0
