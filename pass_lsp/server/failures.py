"""What a failure is called, for the user and for the log."""

from __future__ import annotations

from pass_lsp.errors import NO_MEMORY, EngineError, PassLspError, is_out_of_memory
from pass_lsp.reasons import Reason

NO_LOOKAHEAD = (
    "The strategy 'pass' needs a look-ahead artifact, and this model has none, so 'auto' is used; "
    "train one with `pass-lsp train lookahead`, or set another strategy."
)


class JobFailed(Exception):
    """A job of the engine thread raised, and was logged there; the message is the sentence for the user.

    `reason` says whether that was a fault here, or an engine elsewhere that is away: nobody's bug.
    """

    def __init__(self, message: str, reason: Reason = Reason.FAILED) -> None:
        super().__init__(message)
        self.reason = reason


def job_failed(error: BaseException) -> JobFailed:
    """What a job's exception means for those who wait."""
    away = isinstance(error, EngineError)
    return JobFailed(sentence(error), Reason.ENGINE_AWAY if away else Reason.FAILED)


def sentence(error: BaseException) -> str:
    """One sentence for the user, with the remedy where there is one."""
    if isinstance(error, PassLspError | JobFailed):
        return str(error)
    if is_out_of_memory(error):
        return NO_MEMORY
    return f"Something inside pass-lsp failed ({where(error)}); please report it with the server's log."


def where(error: BaseException) -> str:
    """The kind and the place of a failure, without its message: that may quote source text, which logs never do."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f" at {trace.tb_frame.f_globals.get('__name__')}:{trace.tb_lineno}" if trace else ""
    return type(error).__name__ + place
