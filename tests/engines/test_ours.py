"""Our own engine over its wire: the same prompts as in one process, ids instead of texts, its own figures."""

from __future__ import annotations

import inspect
import json
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from pass_lsp import prompt
from pass_lsp.cli.options import remote_engine
from pass_lsp.completion import complete, complete_document
from pass_lsp.config import Settings
from pass_lsp.decoding.model import load_tokenizer
from pass_lsp.decoding.sampling import uniform
from pass_lsp.documents.document import Document
from pass_lsp.domain import Generation, Judged, SamplingParams
from pass_lsp.engines.echo import EchoEngine
from pass_lsp.engines.embedded import embedded_model
from pass_lsp.engines.remote import RemoteEngine
from pass_lsp.engines.vocabulary import Vocabulary
from pass_lsp.errors import ConfigError, EngineError
from tests.engines.fakes import Exchange, Route, serving, told

MODEL = embedded_model()
SPELT = (MODEL / "tokenizer.json").read_text("utf-8")
TEXTS = [
    "",
    "a",
    " a",
    "\n\n",
    "\tdef f(x):\n        return 'é中\U0001f600'",
    "<|endoftext|>x<|fim_middle|>",
    inspect.getsource(inspect),
]
ANSWER = "value = compute(value)\n"
FACTS = {"model": "embedded", "context_length": 512, "template": "pass-lsp", "tokenizer": json.loads(SPELT)}


class Recording(EchoEngine):
    """An engine of this process that keeps what it was asked."""

    asked: Sequence[int] = ()

    def generate(self, prompt_ids: Sequence[int], params: SamplingParams = SamplingParams(), **how: Any) -> Generation:
        self.asked = list(prompt_ids)
        return super().generate(prompt_ids, params, **how)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return load_tokenizer(str(MODEL), False)


@pytest.fixture
def connect() -> Iterator[Callable[[str], RemoteEngine]]:
    made: list[RemoteEngine] = []

    def make(url: str) -> RemoteEngine:
        made.append(remote_engine(Settings(engine=url)))
        return made[-1]

    yield make
    for engine in made:
        engine.close()


def ours(tokenizer: Any, act: Route | None = None, tells: bool = True) -> dict[str, Route]:
    """The wire as `serving.wire` describes it; strict about what it is sent. An old one `tells` less."""
    ids = tokenizer(ANSWER, add_special_tokens=False)["input_ids"]

    def completions(exchange: Exchange) -> None:
        known = {"model", "prompt", "max_tokens", "temperature", "top_p", "top_k", "seed", "stop_token_ids", "strategy"}
        asked = exchange.body.get("logprobs")
        known |= {"stream"} | ({"logprobs"} if tells and asked == 0 else set())
        if set(exchange.body) - known or not all(isinstance(i, int) for i in exchange.body["prompt"]):
            message = "The request cannot be read."
            exchange.json({"error": {"message": message, "type": "invalid_request_error", "param": None}}, 400)
            return
        run = ids[: exchange.body["max_tokens"]]
        sure = None if asked is None else {"token_logprobs": [-0.5]}
        event = {"index": 0, "text": "", "logprobs": sure, "finish_reason": None}
        events = [{"choices": [{**event, "token_ids": [i]}]} for i in run]
        figures = {
            "finish": "eos",
            "forwards": 3,
            "drafted": 7,
            "accepted": 5,
            "cached_tokens": 2,
            "prefilled_tokens": 9,
        }
        # The text that was held back comes last, and its ids came before.
        last = {"index": 0, "text": tokenizer.decode(run), "token_ids": [], "finish_reason": "stop"}
        exchange.stream([*events, {"choices": [last], "pass_lsp": figures}])

    facts = FACTS | ({"log_probs": True} if tells else {})
    return {"/v1/engine": told(facts), "/v1/completions": act or completions}


def test_its_tokenizer_reads_and_writes_as_transformers_does(tokenizer: Any) -> None:
    vocabulary = Vocabulary(SPELT)
    for text in TEXTS:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert vocabulary(text)["input_ids"] == ids
        assert vocabulary(text, add_special_tokens=True)["input_ids"] == tokenizer(text)["input_ids"]
        plain = {"skip_special_tokens": False, "clean_up_tokenization_spaces": False}
        assert vocabulary.decode(ids, **plain) == tokenizer.decode(ids, **plain)
        assert [vocabulary.convert_ids_to_tokens(i) for i in ids] == tokenizer.convert_ids_to_tokens(ids)
    assert vocabulary.get_vocab() == tokenizer.get_vocab() and len(vocabulary) == len(tokenizer)
    assert set(vocabulary.all_special_ids) >= set(tokenizer.all_special_ids)
    there, here = prompt.template_for(vocabulary), prompt.template_for(tokenizer)
    assert (there.name, there.ids, there.bos, there.stop_ids) == (here.name, here.ids, here.bos, here.stop_ids)
    assert there.special_ids == here.special_ids


def test_it_is_asked_exactly_what_an_engine_of_this_process_is(
    connect: Callable[[str], RemoteEngine], tokenizer: Any
) -> None:
    here = Recording(tokenizer)
    text = "import os\n\n\ndef size_of(path):\n    return os.pat\n"
    with serving(ours(tokenizer)) as fake:
        there = connect(fake.url)
        found = complete(text, 4, 17, engine=there, path="a.py")
        assert found == complete(text, 4, 17, engine=here, path="a.py")
        body = fake.completions[-1].body
        assert body["prompt"] == here.asked
        assert set(body["stop_token_ids"]) == set(prompt.template_for(tokenizer).stop_ids)
        assert there.context_length == 512 and prompt.room(there, Settings()) == 512 - 96


def test_its_figures_are_taken_and_ids_that_came_twice_are_not(
    connect: Callable[[str], RemoteEngine], tokenizer: Any
) -> None:
    with serving(ours(tokenizer)) as fake:
        engine = connect(fake.url)
        found = engine.generate(tokenizer("x = ")["input_ids"], SamplingParams(64))
        assert tokenizer.decode(found.token_ids) == ANSWER and found.finish == "eos"
        assert (found.forwards, found.drafted, found.accepted) == (3, 7, 5)
        assert (found.cached_tokens, found.prefilled_tokens) == (2, 9)
        assert (
            found.tokens_per_forward == (len(found.token_ids) + 1) / 3
        )  # with the one that ended it, as in one process
        short = engine.generate(tokenizer("x = ")["input_ids"], SamplingParams(2))
        assert (len(short.token_ids), short.finish, short.tokens_per_forward) == (2, "length", 2 / 3)


@pytest.mark.parametrize(
    ("seed", "sent"),
    [(0, 0), (-5, -5), (2**63 - 1, 2**63 - 1), (2**63, -(2**63)), (-(2**63) - 1, 2**63 - 1), (2**70 + 3, 3)],
)
def test_a_seed_is_sent_as_the_64_bits_that_noise_is_made_of(
    connect: Callable[[str], RemoteEngine], tokenizer: Any, seed: int, sent: int
) -> None:
    with serving(ours(tokenizer)) as fake:
        connect(fake.url).generate([5, 6], SamplingParams(4, temperature=1.0, seed=seed))
        assert fake.completions[-1].body["seed"] == sent
    assert uniform(SamplingParams(seed=seed), 9) == uniform(SamplingParams(seed=sent), 9)


@pytest.mark.parametrize("tells", [True, False])
def test_it_is_asked_how_sure_it_is_where_it_can_tell(
    connect: Callable[[str], RemoteEngine], tokenizer: Any, tells: bool
) -> None:
    prompt_ids = tokenizer("x = ")["input_ids"]
    with serving(ours(tokenizer, tells=tells)) as fake:
        engine = connect(fake.url)
        whole = engine.generate(prompt_ids, Judged(64, log_probs=3))
        assert tokenizer.decode(whole.token_ids) == ANSWER
        assert whole.log_probs == ((-0.5,) * 3 if tells else ())
        unsure = engine.generate(prompt_ids, Judged(64, least_log_prob=-0.9))
        assert unsure.token_ids == (whole.token_ids[:2] if tells else whole.token_ids)


def test_one_without_an_artifact_is_not_asked_to_look_ahead(
    connect: Callable[[str], RemoteEngine], tokenizer: Any
) -> None:
    paper = SamplingParams(4, strategy="pass")
    for lookahead, taken in ((None, True), (True, True), (False, False)):
        facts = FACTS if lookahead is None else FACTS | {"lookahead": lookahead}
        with serving(ours(tokenizer) | {"/v1/engine": told(facts)}) as fake:
            engine = connect(fake.url)
            assert engine.generate([20, 21]).finish == "eos"
            assert (engine.lookahead is not None) is taken
            if taken:
                engine.generate([20, 21], paper)
                assert fake.completions[-1].body["strategy"] == "pass"
            else:
                with pytest.raises(ConfigError, match="'pass' needs a look-ahead artifact"):
                    engine.generate([20, 21], paper)
                assert len(fake.completions) == 1 and engine.generate([20, 21]).finish == "eos"


def test_ids_of_one_model_are_not_sent_to_the_next(connect: Callable[[str], RemoteEngine], tokenizer: Any) -> None:
    """A team's engine is started again with another model: what it was sent meant something else to that one."""

    def served(fingerprint: str, context_length: int) -> dict[str, Route]:
        def act(exchange: Exchange) -> None:
            if exchange.body.pop("fingerprint", "") != fingerprint:
                exchange.json({"error": {"message": "Another model is served by now.", "code": 409}}, 409)
            else:
                routes["/v1/completions"](exchange)

        routes, facts = ours(tokenizer), {"fingerprint": fingerprint, "context_length": context_length}
        return {"/v1/engine": told(FACTS | facts), "/v1/completions": act}

    with serving(served("first", 512)) as fake:
        engine = connect(fake.url)
        assert engine.generate([20, 21]).finish == "eos" and engine.context_length == 512
        fake.routes |= served("second", 256)
        with pytest.raises(EngineError, match="serves another model by now"):
            engine.generate([20, 21])
        assert engine.context_length == 256 and engine.generate([20, 21]).finish == "eos"


def test_an_end_inside_a_run_is_where_one_token_at_a_time_has_it(
    connect: Callable[[str], RemoteEngine], tokenizer: Any
) -> None:
    ids = tokenizer(ANSWER, add_special_tokens=False)["input_ids"]
    sure = [-0.5 * (number + 1) for number in range(len(ids))]

    def at_once(exchange: Exchange) -> None:
        choice = {"index": 0, "text": ANSWER, "token_ids": ids, "logprobs": {"token_logprobs": sure}}
        exchange.stream([{"choices": [choice | {"finish_reason": "stop"}]}])

    with serving(ours(tokenizer, at_once)) as fake:
        engine, heard, told = connect(fake.url), list[list[int]](), list[list[float]]()
        how = {"on_commit": heard.append, "stop": lambda said: 1 if len(said) >= 3 else None}
        ended = engine.generate([5, 6], Judged(64, on_log_probs=told.append), **how)
        assert (ended.token_ids, ended.finish, heard, told) == (ids[:1], "stop", [ids[:1]], [sure[:3]])
        assert ended.log_probs == tuple(sure[:3])
        unsure = engine.generate([5, 6], Judged(64, least_log_prob=-1.2))
        assert (unsure.token_ids, unsure.log_prob) == (ids[:2], -1.5)
        assert engine.generate([5, 6], Judged(64)).token_ids == ids


def test_the_rest_of_an_answer_is_asked_for_by_its_ids(connect: Callable[[str], RemoteEngine], tokenizer: Any) -> None:
    ids = tokenizer(ANSWER, add_special_tokens=False)["input_ids"]
    document = Document("", "x = 1\n", language="python", path="a.py")

    def dies(exchange: Exchange) -> None:
        event = {"choices": [{"index": 0, "text": "", "token_ids": ids[:2], "finish_reason": None}]}
        exchange.head(200, "text/event-stream")
        exchange.chunk(f"data: {json.dumps(event)}\n\n".encode())
        fake.routes["/v1/completions"] = rest
        exchange.die()

    def rest(exchange: Exchange) -> None:
        event = {"choices": [{"index": 0, "text": "", "token_ids": ids[2:], "finish_reason": "stop"}]}
        exchange.stream([event])

    with serving(ours(tokenizer, dies)) as fake:
        outcome = complete_document(document, 6, connect(fake.url), Settings(deadline_ms=0))
        assert outcome.completion is not None and outcome.completion.text == ANSWER.strip()
        first, second = fake.completions
        assert second.body["prompt"] == first.body["prompt"] + ids[:2]
        assert second.body["max_tokens"] == first.body["max_tokens"] - 2


@pytest.mark.parametrize(
    "odd",
    [
        '"token_ids": [4294967296]',
        '"token_ids": [1%s]' % ("0" * 400),
        '"token_ids": [], "logprobs": {"token_logprobs": [-1%s]}' % ("0" * 400),
        '"token_ids": [], "error": null',
    ],
    ids=lambda text: text[:40],
)
def test_what_no_engine_can_mean_does_no_harm(connect: Callable[[str], RemoteEngine], tokenizer: Any, odd: str) -> None:
    good, *_ = tokenizer("x", add_special_tokens=False)["input_ids"]

    def act(exchange: Exchange) -> None:
        exchange.head(200, "text/event-stream")
        exchange.chunk(f'data: {{"choices": [{{"text": "", {odd}}}], "error": null}}\n\n'.encode())
        last = {"choices": [{"text": "", "token_ids": [good], "finish_reason": "stop"}]}
        exchange.chunk(f"data: {json.dumps(last)}\n\ndata: [DONE]\n\n".encode())

    with serving(ours(tokenizer, act)) as fake:
        engine = connect(fake.url)
        made = engine.generate([20, 21], Judged.of(SamplingParams(8)))
        assert (made.token_ids, made.finish) == ([good], "eos")
        assert engine.tokenizer.decode(made.token_ids) == "x"


def test_half_a_character_is_written_as_none_at_all(connect: Callable[[str], RemoteEngine], tokenizer: Any) -> None:
    def act(exchange: Exchange) -> None:
        exchange.head(200, "text/event-stream")
        exchange.chunk(b'data: {"choices": [{"text": "a \\ud800", "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n')

    routes = ours(tokenizer, act) | {"/v1/engine": told({**FACTS, "model": "m\ud800"})}
    with serving(routes) as fake:
        engine = connect(fake.url)
        assert engine.tokenizer.decode(engine.generate([20, 21]).token_ids) == "a \ufffd"
        assert engine.peer.model == "embedded"


def test_a_tokenizer_that_cannot_be_read_is_said(connect: Callable[[str], RemoteEngine]) -> None:
    for odd in ({}, {"model": 5}, "no json", None):
        fake = serving({"/v1/engine": told({**FACTS, "tokenizer": odd})})
        with fake as there, pytest.raises(EngineError, match="the same version of pass-lsp"):
            assert connect(there.url).tokenizer


def test_what_is_said_again_and_again_keeps_nothing() -> None:
    """An error that was made once grew with each time that it was raised, and held what could not be read."""
    depths = []
    for _ in range(3):
        with pytest.raises(EngineError) as caught:
            Vocabulary.of({"tokenizer": "no json"})
        depths.append(len(list(traceback.walk_tb(caught.value.__traceback__))))
    assert len(set(depths)) == 1


def test_it_is_ours_on_a_socket_too(connect: Callable[[str], RemoteEngine], tokenizer: Any, tmp_path: Path) -> None:
    with serving(ours(tokenizer), uds=tmp_path / "s") as fake:
        assert connect(fake.url).peer.adapter.name == "pass-lsp"
