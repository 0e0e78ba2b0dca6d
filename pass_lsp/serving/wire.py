"""What goes over the wire, the same from one process and from a cluster.

    GET  /health          200 when the model is loaded, 503 with Retry-After until then; no token
    GET  /metrics         Prometheus text
    GET  /v1/models       OpenAI's list with one model, id `embedded`
    GET  /v1/engine       what a client needs to make prompts itself: `model`, `context_length`,
                          `template` (the FIM family's name), `markers` (its ids), `stop_token_ids`,
                          `tokenizer` (tokenizer.json as an object)
    POST /v1/completions  OpenAI's, as below

Body: `prompt` is a text or a list of token ids; with `suffix` (a text) the prompt is a text and both are
spelled in the model's own fill-in-the-middle template. `max_tokens` 16, `temperature` 0 (greedy), `top_p` 1,
`top_k` 0, `seed` 0, `stop` (up to 16 texts), `stop_token_ids`, `strategy`, `stream`. Members that change nothing here
are ignored; `n`, `best_of`, `echo` and `logprobs` are refused where they ask for what there is not. The ends of the
template always end an answer.

Header `x-session-id` names a document: its requests take their turn as one, and on a cluster go to the replica that
holds its keys and values. Closing the connection ends the decode within one forward.

Answer: OpenAI's `text_completion`, or with `stream` server-sent events of it and `data: [DONE]`. In both
`choices[0]` carries `token_ids` beside `text`: the ids committed, without the one that ended the answer. `text` is
behind the ids where a character or a stop text is not complete. The last event has `finish_reason` (`stop`, `length`)
and `pass_lsp`: `finish`, `forwards`, `drafted`, `accepted`, `cached_tokens`, `prefilled_tokens`.

Errors are `{"error": {"message", "type", "param", "code"}}`: 400 malformed, 401 token, 403 Origin or Host, 404, 405,
413 too large, 429 queue full and 503 loading (both with Retry-After). A failure in mid-stream is such an event.
"""
