"""What the user is shown about the server: `didChangeStatus`, as Copilot's clients render it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

from pass_lsp.reasons import Reason

log = logging.getLogger(__name__)

NOTIFICATION = "didChangeStatus"
REQUEST = "pass-lsp/status"


class Model(Enum):
    """How far the engine is."""

    ABSENT = "absent"
    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Status:
    """One state, in the members of the notification; `reason` is a code of `Reason`, or "" if all is well."""

    busy: bool
    kind: str
    message: str
    reason: str = ""


class StatusBoard:
    """The current status; tells the client when it changes, and not before the client is ready for it."""

    def __init__(self, send: Callable[[str, dict[str, Any]], None]) -> None:
        self._send = send
        self._shown: Status | None = None
        self.model = Model.ABSENT
        self.failure = ""
        self.reason: Reason | None = None
        self.off = False
        """Suggestions are switched off everywhere."""

    @property
    def current(self) -> Status:
        """The status as of now."""
        if self.model is Model.FAILED:
            return Status(False, "Error", self.failure, Reason.MODEL_FAILED.value)
        if self.model is Model.LOADING:
            return Status(True, "Normal", "The model is being loaded.", Reason.MODEL_LOADING.value)
        if self.model is Model.ABSENT and self.failure:
            return Status(False, "Inactive", self.failure, Reason.LOAD_CANCELLED.value)
        if self.model is Model.ABSENT or self.off or self.reason is Reason.DISABLED:
            return Status(False, "Inactive", "Suggestions are switched off here.", Reason.DISABLED.value)
        if self.reason is Reason.FAILED or self.reason is Reason.ENGINE_AWAY:
            return Status(False, "Warning", self.failure, self.reason.value)
        if self.reason is not None:
            return Status(False, "Normal", f"No suggestion. {self.reason.meaning}", self.reason.value)
        return Status(False, "Normal", "Ready.")

    def as_dict(self) -> dict[str, Any]:
        """The current status as JSON has it."""
        return asdict(self.current)

    def engine_is(self, model: Model, failure: str = "") -> None:
        """The engine's state changed; an absent one with a `failure` is one that the user did not wait for."""
        self.model, self.failure, self.reason = model, failure, None
        self.publish()

    def answered(self, reason: Reason | None, failure: str = "") -> None:
        """A request was answered, with a suggestion (None) or for `reason` without one."""
        if reason is not None and reason is not self.reason:
            log.info("No suggestion: %s.", reason.value)
        self.reason = reason
        if self.model is Model.READY:
            self.failure = failure
        self.publish()

    def publish(self) -> None:
        """Send the status if the client has not got it yet."""
        if self.current != self._shown:
            self._shown = self.current
            self._send(NOTIFICATION, self.as_dict())
