"""The service over real HTTP, with an engine that counts."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from typing import Any

import pytest
from pydantic import ValidationError

from pass_lsp.domain import CancelToken, Context, Generation, SamplingParams
from pass_lsp.engines.local import load_engine
from pass_lsp.prompt import render
from pass_lsp.serving import scheduler, spelling
from pass_lsp.serving.guard import is_local
from pass_lsp.serving.process import tcp
from pass_lsp.serving.scheduler import QUANTUM
from pass_lsp.serving.service import Limits
from pass_lsp.serving.text import Words
from pass_lsp.serving.wire import Ask, Refused, asked
from tests.serving.conftest import Counting, Serve, log_prob_of, wait_for
from tests.test_prompt import tokenizer_of

PROMPT = [20, 21, 22]


def alone(engine: Counting, prompt: list[int], length: int, seed: int = 0) -> list[int]:
    params = SamplingParams(length, seed=seed)
    made = Counting(engine.tokenizer).generate(
        prompt, params, cancel=CancelToken(), on_commit=lambda _: None, stop=lambda _: None
    )
    return made.token_ids


def test_an_answer_whole_and_in_pieces(tokenizer: Any, serve: Serve) -> None:
    with serve(Counting(tokenizer)) as here:
        expected = alone(here.service.scheduler.engine, PROMPT, 20)
        status, whole = here.post({"prompt": PROMPT, "max_tokens": 20, "model": "embedded", "user": "ignored"})
        assert status == 200 and whole["choices"][0]["token_ids"] == expected
        assert whole["choices"][0]["text"] == tokenizer.decode(expected, skip_special_tokens=True)
        assert whole["choices"][0]["finish_reason"] == "length" and whole["usage"]["total_tokens"] == 23
        events = list(here.stream({"prompt": PROMPT, "max_tokens": 20}))
        assert [i for event in events for i in event["choices"][0]["token_ids"]] == expected
        assert "".join(event["choices"][0]["text"] for event in events) == whole["choices"][0]["text"]
        assert [event["choices"][0]["finish_reason"] for event in events][-2:] == [None, "length"]
        assert events[-1]["pass_lsp"] == whole["pass_lsp"] and events[-1]["pass_lsp"]["forwards"] == 20


def test_each_token_comes_with_its_log_probability_if_that_is_asked_for(tokenizer: Any, serve: Serve) -> None:
    with serve(Counting(tokenizer)) as here:
        assert here.get("/v1/engine")[1]["log_probs"] is True
        body = {"prompt": PROMPT, "max_tokens": 20, "logprobs": 0}
        whole = here.post(body)[1]["choices"][0]
        assert whole["logprobs"] == {"token_logprobs": [log_prob_of(i) for i in whole["token_ids"]]}
        *runs, end = (event["choices"][0] for event in here.stream(body))
        assert [run["token_ids"] for run in runs] == [[i] for i in whole["token_ids"]]
        assert [run["logprobs"]["token_logprobs"] for run in runs] == [[log_prob_of(i)] for i in whole["token_ids"]]
        assert end["logprobs"] is None
        plain = {"prompt": PROMPT, "max_tokens": 3}
        assert here.post(plain)[1]["choices"][0]["logprobs"] is None
        assert {str(event["choices"][0]["logprobs"]) for event in here.stream(plain)} == {"None"}


@pytest.mark.parametrize(("artifact", "told"), [("there", True), (None, False)])
def test_it_says_whether_it_looks_ahead(artifact: Any, told: bool, tokenizer: Any, serve: Serve) -> None:
    engine = Counting(tokenizer)
    engine.lookahead = artifact
    with serve(engine) as here:
        assert here.get("/v1/engine")[1]["lookahead"] is told


def test_ids_for_another_model_are_refused(tokenizer: Any, serve: Serve) -> None:
    told = []
    for length in (512, 256, 512):
        engine = Counting(tokenizer)
        engine.context_length = length
        with serve(engine) as here:
            told.append(here.get("/v1/engine")[1]["fingerprint"])
            statuses = [here.post({"prompt": PROMPT, "fingerprint": each})[0] for each in ("", None, *told)]
            assert statuses == [200, 200, *(200 if each == told[-1] else 409 for each in told)]
    assert told[0] == told[2] != told[1]


def test_a_stop_text_is_cut_and_never_shown(tokenizer: Any, serve: Serve) -> None:
    with serve(Counting(tokenizer)) as here:
        text = here.post({"prompt": PROMPT, "max_tokens": 40})[1]["choices"][0]["text"]
        stop = text[5:8]
        for body in ({"stop": stop}, {"stop": ["\0never", stop]}):
            answer = here.post({"prompt": PROMPT, "max_tokens": 40, **body})[1]["choices"][0]
            assert answer["text"] == text[: text.index(stop)] and answer["finish_reason"] == "stop"
        events = here.stream({"prompt": PROMPT, "max_tokens": 40, "stop": stop})
        assert "".join(event["choices"][0]["text"] for event in events) == text[: text.index(stop)]


def test_half_a_character_waits_for_the_other_half(tokenizer: Any) -> None:
    ids = tokenizer("x = 'é→😀'", add_special_tokens=False)["input_ids"]
    words = Words(tokenizer)
    pieces = [words.push([i]) for i in ids]
    assert "".join([*pieces, words.push([], last=True)]) == "x = 'é→😀'" and not any("\ufffd" in p for p in pieces)


def test_a_first_space_is_said_by_tokenizers_that_drop_it_at_the_head_of_a_text() -> None:
    tokenizer = tokenizer_of("codellama")
    ids = tokenizer("x = a + b", add_special_tokens=False)["input_ids"]
    rest = ids[ids.index(tokenizer.convert_tokens_to_ids("=")) + 1 :]
    words = Words(tokenizer)
    assert "".join([*(words.push([i]) for i in rest), words.push([], last=True)]) == " a + b"


def test_a_suffix_is_spelled_in_the_models_template(tokenizer: Any, serve: Serve) -> None:
    engine = Counting(tokenizer)
    with serve(engine) as here:
        told = here.get("/v1/engine")[1]
        assert told["template"] == "pass-lsp" and told["context_length"] == 512
        from tokenizers import Tokenizer

        theirs = Tokenizer.from_str(json.dumps(told["tokenizer"]))
        assert here.post({"prompt": "a = ", "suffix": "\nb\n", "max_tokens": 1})[0] == 200
        ids = engine.calls[-1]
        assert [told["markers"][name] for name in ("<|file|>", "<|fim_suffix|>")] == [
            ids[0],
            next(i for i in ids if i == told["markers"]["<|fim_suffix|>"]),
        ]
        assert ids[-1] == told["markers"]["<|fim_middle|>"]
        assert "\nb\n" in theirs.decode(ids) and "a = " in theirs.decode(ids)


def test_a_prompt_is_cut_for_the_longest_answer_that_there_can_be(tokenizer: Any, serve: Serve) -> None:
    engine = Counting(tokenizer)
    with serve(engine, Limits(max_tokens=10)) as here:
        assert here.post({"prompt": "a = 1\n" * 500, "suffix": "\nb\n", "max_tokens": 2000})[0] == 200
    assert 400 < len(engine.calls[-1]) <= engine.context_length - 10


def test_of_a_large_file_what_is_near_the_cursor_is_looked_at(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Context] = []

    def watched(context: Context, *given: Any) -> Any:
        seen.append(context)
        return render(context, *given)

    monkeypatch.setattr(spelling, "render", watched)
    line = "    result = compute(value, other)\n"
    for count in (1000, 15_000):
        ask = Ask(prompt=f"{line * count}x = ", suffix=f"\n{line * count}")
        assert len(spelling.spelled(Counting(tokenizer), ask, 16)) <= Counting.context_length
    few, many = seen
    assert len(many.prefix) == len(few.prefix) > 4 * Counting.context_length
    assert many.prefix.endswith("x = ") and many.suffix == few.suffix


def test_the_embedded_model_is_described_without_transformers() -> None:
    theirs = load_engine().tokenizer  # the first load on a machine converts the model, which takes transformers
    code = "from pass_lsp.serving.spelling import described; told = described(pass_lsp.load_engine())['tokenizer']"
    shown = "print('transformers' in sys.modules, json.dumps(told))"
    command = [sys.executable, "-c", f"import json, sys, pass_lsp; {code}; {shown}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    imported, _, told = done.stdout.partition(" ")
    assert imported == "False"
    assert json.loads(told) == json.loads(theirs.backend_tokenizer.to_str())


def test_a_model_that_cannot_fill_in_says_so(serve: Serve) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {"[UNK]": 0} | {chr(i): i - 31 for i in range(32, 127)}
    bare = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    bare.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    with serve(Counting(PreTrainedTokenizerFast(tokenizer_object=bare, unk_token="[UNK]"))) as here:
        status, answer = here.post({"prompt": "a", "suffix": "b"})
        assert status == 400 and answer["error"]["param"] == "suffix"
        assert here.post({"prompt": "a", "max_tokens": 2})[0] == 200
        assert here.post({"prompt": "a", "suffix": "", "max_tokens": 2})[0] == 200, "there is nothing to fill in"


BAD: list[tuple[Any, str | None]] = [
    (b"{", None),
    (b"[]", None),
    (b"\xff\xfe", None),
    (b"[" * 100_000, None),
    ({}, "prompt"),
    ({"prompt": None}, "prompt"),
    ({"prompt": ["a", "b"]}, "prompt"),
    ({"prompt": ""}, "prompt"),
    ({"prompt": []}, "prompt"),
    ({"prompt": [-1]}, "prompt"),
    ({"prompt": [10**30]}, "prompt"),
    ({"prompt": [20] * 513}, "prompt"),
    ({"prompt": PROMPT, "suffix": 3}, "suffix"),
    ({"prompt": PROMPT, "suffix": "x"}, "suffix"),
    ({"prompt": PROMPT, "max_tokens": "4"}, "max_tokens"),
    ({"prompt": PROMPT, "max_tokens": -1}, "max_tokens"),
    ({"prompt": PROMPT, "temperature": -1}, "temperature"),
    (b'{"prompt": [20], "temperature": NaN}', "temperature"),
    ({"prompt": PROMPT, "top_p": 0}, "top_p"),
    ({"prompt": PROMPT, "n": 2}, "n"),
    ({"prompt": PROMPT, "echo": True}, "echo"),
    ({"prompt": PROMPT, "logprobs": 1}, "logprobs"),
    ({"prompt": PROMPT, "stop": ["x"] * 17}, "stop"),
    ({"prompt": PROMPT, "stop": ""}, "stop"),
    ({"prompt": PROMPT, "strategy": "fast"}, "strategy"),
    ({"prompt": [13]}, None),
]


def test_bad_requests_get_one_sentence_and_harm_nobody(tokenizer: Any, serve: Serve) -> None:
    with serve(Counting(tokenizer)) as here:
        for body, param in BAD:
            for stream in (False, True):
                sent = body | {"stream": stream} if isinstance(body, dict) else body
                status, answer = here.post(sent)
                assert (status, answer["error"]["param"]) == (400, param), body
                assert answer["error"]["message"].endswith(".")
        assert here.post(b" " * (2**20 + 1))[0] == 413
        connection = HTTPConnection("127.0.0.1", here.port)
        with contextlib.closing(connection), contextlib.suppress(ConnectionError):  # it may hang up on the rest
            connection.request("POST", "/v1/completions", iter([b" " * 2**16] * 17), encode_chunked=True)
            assert connection.getresponse().status == 413
        assert here.ask("GET", "/v1/completions").status == 405 and here.get("/nothing")[0] == 404
        nulls = {"suffix": None, "stop": None, "logprobs": None, "max_tokens": None, "n": None, "stream": None}
        assert here.post({"prompt": PROMPT, **nulls})[1]["usage"]["completion_tokens"] == 16


def test_a_text_that_cannot_fit_is_refused_unread(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Token by token a MiB takes seconds, and as many requests at once as there are threads."""

    def refuse(*_: object) -> None:
        raise AssertionError("is read")

    monkeypatch.setattr(spelling, "encode", refuse)
    with pytest.raises(Refused, match=r"context 512; shorten it") as caught:
        spelling.spelled(Counting(tokenizer), Ask(prompt="x" * 900_000), 16)
    assert (caught.value.status, caught.value.param) == (400, "prompt")


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"prompt": ["a"] * 100_000}, "The member 'prompt' cannot be used; give one text or one list of token ids."),
        ({"prompt": "a", "echo": True}, "The member 'echo' cannot be used; give false: the prompt is not said again."),
        ({"prompt": "a", "n": 2}, "The member 'n' cannot be used; give 1: there is one answer."),
        ({"prompt": "a", "stop": 5}, "The member 'stop' cannot be used; give up to 16 texts of 1 to 256 characters."),
    ],
    ids=["prompt", "echo", "n", "stop"],
)
def test_what_cannot_be_used_is_said_with_what_can(body: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Refused, match=re.escape(sentence)):
        asked(json.dumps(body).encode())


def test_one_prompt_in_a_list_is_that_prompt() -> None:
    given: list[Any] = ["a", [20, 21], ["a"], [[20, 21]], [20]]
    assert [asked(json.dumps({"prompt": each}).encode()).prompt for each in given] == [
        "a",
        [20, 21],
        "a",
        [20, 21],
        [20],
    ]
    for wrong in (["a", "b"], [[20], [21]], [["a"]], [[[20]]], [None], [{}]):
        with pytest.raises(Refused, match="'prompt' cannot be used"):
            asked(json.dumps({"prompt": wrong}).encode())


def test_of_a_long_list_that_holds_no_ids_one_error_is_enough() -> None:
    with pytest.raises(ValidationError) as caught:
        Ask.model_validate({"prompt": ["a"] * 100_000})
    assert caught.value.error_count() < 5


def test_a_method_that_is_not_taken_is_told_which_are(tokenizer: Any, serve: Serve) -> None:
    with serve(Counting(tokenizer)) as here:
        assert here.ask("OPTIONS", "/v1/completions").headers["allow"] == "POST"
        assert here.ask("DELETE", "/v1/models").headers["allow"] == "GET, HEAD"


class Failing(Counting):
    """Says two tokens and breaks."""

    def generate(self, prompt_ids: Any, params: Any = None, *, on_commit: Any = None, **how: Any) -> Generation:
        on_commit([20])
        on_commit([21])
        raise RuntimeError("out of order")


def test_an_answer_that_breaks_off_says_so_and_is_counted(tokenizer: Any, serve: Serve) -> None:
    with serve(Failing(tokenizer)) as here:
        *runs, last = here.stream({"prompt": PROMPT})
        assert [run["choices"][0]["token_ids"] for run in runs] == [[20], [21]]
        assert last["error"]["code"] == 500 and "out of order" not in last["error"]["message"]
        assert 'pass_lsp_requests_total{status="500"} 1.0' in here.get("/metrics")[1]
        assert (
            here.ask("POST", "/v1/completions", {"prompt": PROMPT, "stream": True}).headers["x-accel-buffering"] == "no"
        )


def test_no_web_page_and_nobody_without_the_token(tokenizer: Any, serve: Serve) -> None:
    body = {"prompt": PROMPT, "max_tokens": 1}
    with serve(Counting(tokenizer)) as here:
        assert here.post(body, Origin="https://example.org")[0] == 403
        assert here.post(body, Host="example.org:8765")[0] == 403
        assert here.post(body, Host="localhost:1")[0] == 200
    with serve(Counting(tokenizer), Limits(token="s3cret", local=False)) as here:
        assert here.post(body)[0] == 401 and here.post(body, Authorization="Bearer s3cre")[0] == 401
        assert here.get("/v1/engine")[0] == 401 and here.get("/metrics")[0] == 401
        assert (
            here.post(body, Authorization="bearer s3cret")[0] == 200
            and here.post(body, Authorization="s3cret")[0] == 401
        )
        assert here.get("/health")[0] == 200
        assert here.post(body, Authorization="Bearer s3cret", Host="gpu.example.org")[0] == 200
        assert here.post(body, Authorization="Bearer s3cret", Origin="null")[0] == 403
    assert "s3cret" not in repr(Limits(token="s3cret"))


def test_hosts_of_this_machine() -> None:
    assert all(map(is_local, ("localhost", "LOCALHOST:80", "127.0.0.1", "127.1.2.3:9", "[::1]", "[::1]:80", "::1")))
    assert not any(map(is_local, ("", "localhost.evil.org", "127.0.0.1.evil.org:80", "10.0.0.1", "[::2]:1", "0.0.0.0")))
    assert not any(
        map(is_local, ("[::1].evil.org", "[::1]evil.org:80", "[::1]:80.evil.org", "localhost:80.evil.org", "["))
    )


def test_nothing_is_served_before_the_model_is_there(tokenizer: Any, serve: Serve) -> None:
    go = threading.Event()

    def load() -> Any:
        assert go.wait(30)
        return Counting(tokenizer)

    with serve(None, load=load) as here:
        for path in ("/health", "/v1/models", "/v1/engine"):
            response = here.ask("GET", path)
            assert response.status == 503 and response.headers["retry-after"] == "1"
        assert here.post({"prompt": PROMPT})[0] == 503 and here.get("/metrics")[0] == 200
        go.set()
        wait_for(lambda: here.get("/health")[0] == 200)
        assert here.get("/v1/models")[1]["data"][0]["id"] == "embedded"


def test_sessions_take_turns_and_no_turn_changes_a_token(tokenizer: Any, serve: Serve) -> None:
    engine = Counting(tokenizer, 0.002)
    length = 4 * QUANTUM + 3
    with serve(engine) as here, ThreadPoolExecutor(6) as pool:
        prompts = [[30 + number, 21] for number in range(6)]
        asked = [
            pool.submit(here.post, {"prompt": prompt, "max_tokens": length, "seed": 5}, x_session_id=f"s{number}")
            for number, prompt in enumerate(prompts)
        ]
        answers = [each.result()[1] for each in asked]
    for prompt, answer in zip(prompts, answers, strict=True):
        assert answer["choices"][0]["token_ids"] == alone(engine, prompt, length, seed=5)
        assert answer["pass_lsp"]["forwards"] == length and answer["pass_lsp"]["prefilled_tokens"] == 2
    changes = sum(a != b for a, b in zip(engine.seen, engine.seen[1:], strict=False))
    assert changes > 2 * len(prompts), "somebody had to wait until others were done"


def test_a_short_answer_does_not_wait_for_a_long_one(tokenizer: Any, serve: Serve) -> None:
    engine = Counting(tokenizer, 0.01)
    with serve(engine) as here, ThreadPoolExecutor(1) as pool:
        long = pool.submit(here.post, {"prompt": [30], "max_tokens": 300})
        wait_for(lambda: len(engine.seen) > 2)
        assert here.post({"prompt": [31], "max_tokens": 2})[0] == 200
        assert engine.seen.count(30) < 300 and not long.done()
        here.service.scheduler.close()
        assert long.result()[1]["pass_lsp"]["finish"] == "cancelled"


@pytest.mark.parametrize("stream", [True, False])
def test_closing_the_connection_ends_the_decode(stream: bool, tokenizer: Any, serve: Serve) -> None:
    engine = Counting(tokenizer, 0.01)
    with serve(engine) as here:
        connection = HTTPConnection("127.0.0.1", here.port)
        body = json.dumps({"prompt": PROMPT, "max_tokens": 500, "stream": stream})
        connection.request("POST", "/v1/completions", body)
        response = connection.getresponse() if stream else None
        wait_for(lambda: len(engine.seen) > 3)
        if response is not None:
            assert response.readline().startswith(b"data: ")
            response.close()
        connection.close()
        wait_for(lambda: bool(engine.cancelled))
        assert len(engine.seen) < 400
        wait_for(lambda: "pass_lsp_cancels_total 1.0" in here.get("/metrics")[1])
        figures = here.get("/metrics")[1]
        assert 'pass_lsp_requests_total{status="499"} 1.0' in figures and 'status="200"' not in figures
        assert "pass_lsp_request_seconds_count 0.0" in figures, "what was given up has no last token"


def test_no_forward_begins_after_the_client_is_gone(tokenizer: Any, serve: Serve) -> None:
    engine, begun, go = Counting(tokenizer), threading.Event(), threading.Event()
    flags: list[Any] = []

    def held(token_ids: list[int]) -> int | None:
        """In the middle of the third forward."""
        if len(token_ids) == 3:
            begun.set()
            assert go.wait(30)
        return None

    def generate(prompt_ids: Any, params: Any, *, cancel: Any, on_commit: Any, stop: Any) -> Any:
        flags.append(cancel)
        return Counting.generate(engine, prompt_ids, params, cancel=cancel, on_commit=on_commit, stop=held)

    engine.generate = generate  # type: ignore[method-assign]
    with serve(engine) as here:
        connection = HTTPConnection("127.0.0.1", here.port)
        connection.request("POST", "/v1/completions", json.dumps({"prompt": PROMPT, "max_tokens": 100}))
        assert begun.wait(30)
        connection.close()
        wait_for(lambda: flags[0].cancelled)
        go.set()
        wait_for(lambda: bool(engine.cancelled))
    assert len(engine.seen) == 3


def test_who_sends_slowly_or_half_keeps_nobody_waiting(tokenizer: Any, serve: Serve) -> None:
    engine = Counting(tokenizer)
    head = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n"
    with serve(engine, Limits(max_queue=2)) as here, contextlib.ExitStack() as slow:
        for sent in (b"", b"POST /v1/comp", head, head + b'{"prompt": [20'):
            for _ in range(5):
                slow.enter_context(socket.create_connection(("127.0.0.1", here.port))).sendall(sent)
        assert here.post({"prompt": PROMPT, "max_tokens": 2})[0] == 200 and here.get("/health")[0] == 200
        assert here.service.scheduler.load == 0, "half a request holds a place in the queue"


def test_a_full_queue_is_said_and_the_rest_is_served(tokenizer: Any, serve: Serve) -> None:
    engine = Counting(tokenizer, 0.005)
    with serve(engine, Limits(max_queue=3)) as here, ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(lambda _: here.ask("POST", "/v1/completions", {"prompt": PROMPT}), range(40)))
        statuses = [answer.status for answer in answers]
        assert set(statuses) == {200, 429} and statuses.count(200) >= 4
        assert all(answer.headers["retry-after"] == "1" for answer in answers if answer.status == 429)
        for answer in answers:
            answer.read()
        assert here.post({"prompt": PROMPT})[0] == 200
        figures = here.get("/metrics")[1]
        assert f'pass_lsp_requests_total{{status="429"}} {statuses.count(429)}.0' in figures
        assert f"pass_lsp_tokens_total {16.0 * (statuses.count(200) + 1)}" in figures


@pytest.mark.parametrize("session", [{"x_session_id": "greedy"}, {}], ids=["of one session", "of none"])
def test_nobody_keeps_others_out_of_a_full_queue(session: dict[str, str], tokenizer: Any, serve: Serve) -> None:
    engine, go = Counting(tokenizer), threading.Event()

    def held(*given: Any, **how: Any) -> Generation:
        assert go.wait(60)
        return Counting.generate(engine, *given, **how)

    engine.generate = held  # type: ignore[method-assign]
    body = {"prompt": PROMPT, "max_tokens": 2}
    with serve(engine, Limits(max_queue=3)) as here, ThreadPoolExecutor(8) as pool:
        greedy, typists = list[Any](), list[Any]()
        for number in range(4):
            greedy.append(pool.submit(here.post, body, **session))
            wait_for(lambda number=number: here.service.scheduler.load == number + 1)
        assert here.post(body, **session)[0] == 429, "there is room where there should be none"
        for number, name in enumerate("abc"):
            typists.append(pool.submit(here.post, body, x_session_id=name))
            wait_for(lambda number=number: sum(each.done() for each in greedy) == number + 1)
        assert here.post(body, x_session_id="d")[0] == 429, "who has no more than others has to give way"
        go.set()
        assert [each.result()[0] for each in typists] == [200] * 3
        assert [each.result()[0] for each in greedy] == [200, 429, 429, 429]
        assert 'pass_lsp_requests_total{status="429"} 5.0' in here.get("/metrics")[1]


def test_answers_are_bounded_in_tokens_and_time(tokenizer: Any, serve: Serve) -> None:
    with serve(Counting(tokenizer, 0.01), Limits(max_tokens=7)) as here:
        assert here.post({"prompt": PROMPT, "max_tokens": 10**9})[1]["usage"]["completion_tokens"] == 7
    with serve(Counting(tokenizer, 0.01), Limits(max_seconds=0.1)) as here:
        answer = here.post({"prompt": PROMPT, "max_tokens": 500})[1]
        assert answer["usage"]["completion_tokens"] < 500 and answer["choices"][0]["finish_reason"] == "length"


class Reading:
    """Reads a long prompt: `forwards` of `forward_s` each, without a token, and then one."""

    context_length = 512

    def __init__(self, tokenizer: Any, forwards: int, forward_s: float) -> None:
        self.tokenizer, self.forwards, self.forward_s = tokenizer, forwards, forward_s
        self.done = 0

    def generate(self, prompt_ids: Any, params: Any, *, cancel: Any, on_commit: Any, stop: Any) -> Generation:
        for _ in range(self.forwards):
            if cancel.cancelled:
                return Generation([], "cancelled")
            time.sleep(self.forward_s)
            self.done += 1
        stop([20])
        on_commit([20])
        return Generation([20], "length", 1)


def test_reading_the_prompt_is_bounded_in_time_too(tokenizer: Any, serve: Serve) -> None:
    engine = Reading(tokenizer, 10**6, 0.01)
    with serve(engine, Limits(max_seconds=0.2)) as here:
        answer = here.post({"prompt": PROMPT})[1]
        assert answer["choices"][0]["finish_reason"] == "length" and answer["usage"]["completion_tokens"] == 0
        assert 1 <= engine.done < 1000
        engine.forwards = 1
        assert here.post({"prompt": PROMPT})[1]["usage"]["completion_tokens"] == 1


@pytest.mark.parametrize(("forwards", "forward_s", "stuck"), [(100, 0.03, False), (1, 4.0, True)])
def test_an_engine_is_stuck_when_a_forward_does_not_end(
    forwards: int, forward_s: float, stuck: bool, tokenizer: Any, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "STUCK_S", 2.0)
    with serve(Reading(tokenizer, forwards, forward_s)) as here, ThreadPoolExecutor(1) as pool:
        assert here.get("/health")[0] == 200
        answer = pool.submit(here.post, {"prompt": PROMPT})
        seen = set[int]()
        while not answer.done():
            seen.add(here.get("/health")[0])
            time.sleep(0.05)
        assert seen == ({200, 503} if stuck else {200}) and answer.result()[0] == 200
        assert here.get("/health")[0] == 200


def test_a_body_that_does_not_come_is_given_up(tokenizer: Any, serve: Serve) -> None:
    head = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{"
    with contextlib.ExitStack() as stack:
        here = stack.enter_context(serve(Counting(tokenizer), Limits(max_seconds=0.2)))
        slow = stack.enter_context(socket.create_connection(("127.0.0.1", here.port), timeout=30))
        slow.sendall(head)
        assert slow.recv(2**16).startswith(b"HTTP/1.1 408 ")


def test_an_other_end_that_vanished_is_noticed() -> None:
    listener = tcp("127.0.0.1", 0)
    with listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) != 0
            if hasattr(socket, "TCP_KEEPIDLE"):
                assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 30
