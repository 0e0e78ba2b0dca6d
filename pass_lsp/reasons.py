"""`Reason`: why there is nothing to show. Every one that a user may meet, and the sentence that says it."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why a request was answered with nothing; the one list, shown in status, log and doctor.

    A member is its code; `meaning` is the sentence that a user reads.
    """

    meaning: str

    def __new__(cls, code: str, meaning: str) -> Reason:
        """A member from its code and its sentence."""
        member = str.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member

    # The server's: nothing was asked of the model.
    MODEL_LOADING = "model-loading", "The model is still being loaded."
    MODEL_FAILED = "model-failed", "The model could not be loaded; `pass-lsp doctor` says why."
    LOAD_CANCELLED = "load-cancelled", "Loading the model was cancelled; ask for a suggestion by hand to load it."
    DISABLED = "disabled", "Suggestions are switched off, here or for this language."
    NOT_OPEN = "document-not-open", "The editor has not opened this document with the server."
    # The document's: it never enters a prompt.
    TOO_LARGE = "file-too-large", "The file is larger than 2 MB."
    MINIFIED = "minified-file", "A line near the cursor is longer than 5000 characters."
    BINARY = "binary-file", "The file does not look like text."
    EXCLUDED = "excluded-file", "The file may hold secrets, by its name, its folder or a private key in it."
    IGNORED = "ignored-file", "An ignore file (.gitignore, .pass-lsp-ignore) excludes this file."
    # The cursor's: nothing belongs there.
    MID_LINE = "code-right-of-cursor", "The code right of the cursor does not show that something is missing there."
    MID_WORD = "inside-a-word", "The cursor is inside a word."
    IN_COMMENT = "inside-comment-or-string", "The cursor is in a comment or string, where suggestions are off."
    NO_CONTEXT = "nothing-before-cursor", "The document is empty."
    # The answer's: nothing of it was left.
    EMPTY = "model-had-nothing-to-add", "The model had nothing to add."
    REPEATS_SUFFIX = "repeats-what-follows", "The answer was what already stands below."
    REPETITIVE = "repeats-itself", "The answer said again what stands above it, or one thing over and over."
    BROKEN = "does-not-parse", "The answer would have left the code broken."
    UNSURE = (
        "low-confidence",
        "What the model is this unsure of is hardly ever right, or rarely taken; ask by hand to see it.",
    )
    # The request's.
    SUPERSEDED = "superseded", "A newer request for the document came in."
    CANCELLED = "cancelled", "The editor cancelled the request."
    DEADLINE = "deadline", "Nothing was decoded before the deadline."
    ENGINE_AWAY = "engine-away", "The remote engine gave no answer; the status and `pass-lsp doctor` say why."
    FAILED = "internal-error", "Something went wrong; the log has the place."
