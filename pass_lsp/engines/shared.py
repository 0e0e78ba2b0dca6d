"""One engine for all editors of this user: found on a socket, or started there (`engine = "shared"`).

    folder of this user alone (0700) / <key>.sock .lock .pid .log

The key is what the engine was loaded with, and the version. Who starts one holds the lock until
it answers, so that two windows that open at once start one. A socket that nobody listens on
is removed with the lock held. The engine outlives the editor that started it and ends when idle.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import filelock
import httpx2
import psutil

from pass_lsp import __version__
from pass_lsp.config import KEYWORDS, Settings
from pass_lsp.engines.embedded import user_cache
from pass_lsp.errors import ConfigError, EngineError

NAME = "shared"
"""The `engine` that stands for it."""
IDLE_MINUTES = 15
_LOAD_S = 600.0
"""A large model is converted at its first load."""
_AGAIN_S = 60.0
_POLL_S = 0.05
_HEALTHY, _NOBODY = 200, 0
_BIRTH_S = 10.0
_LONGEST_SOCKET = 100
"""Bytes of a socket's path; systems allow 104 or 108."""

Report = Callable[[str], None]
Command = Sequence[str]


class SharedEngine:
    """The process behind the socket; `command` is what starts it, with the socket's path in place of `{socket}`."""

    def __init__(self, settings: Settings, command: Command | None = None, folder: Path | None = None) -> None:
        if os.name == "nt":
            raise ConfigError('The engine "shared" needs Unix sockets; leave the setting empty on Windows.')
        options = _options(settings)
        self._command = command or (*_ENGINE, *options)
        key = hashlib.sha256("\0".join((__version__, *options)).encode("utf-8", "replace")).hexdigest()[:16]
        self._at = _private(folder or _folder()) / key
        self.socket = self._at.with_suffix(".sock")
        self._lock = filelock.FileLock(self._at.with_suffix(".lock"), thread_local=False)
        self._revived_s = -_AGAIN_S
        self._process: subprocess.Popen[bytes] | None = None
        self._restart: threading.Thread | None = None
        self._failed: EngineError | None = None

    def ensure(self, report: Report = lambda _: None) -> None:
        """Return once the engine answers, whoever started it. Raises `EngineError`, and `revive` then says it again."""
        self._failed = None
        if self._healthy():
            return
        try:
            self._awaited(report)
        except EngineError as error:
            self._failed = error
            raise

    def _awaited(self, report: Report) -> None:
        try:
            with self._locked(report):
                self._wait(report)
        except filelock.Timeout:
            raise EngineError(f"The shared engine is not ready after {_LOAD_S:.0f} s; see {self._log}.") from None
        except OSError as error:
            raise EngineError(
                f"The shared engine cannot be started ({error.strerror}); check {self._at.parent}."
            ) from error

    def _locked(self, report: Report) -> contextlib.AbstractContextManager[object]:
        """The lock, once whoever loads a model under it is done; until then `report` may end the waiting."""
        end = time.monotonic() + _LOAD_S
        while True:
            report("Waiting for the shared engine")
            try:
                return self._lock.acquire(timeout=_POLL_S)
            except filelock.Timeout:
                if time.monotonic() > end:
                    raise

    def revive(self) -> None:
        """Start an engine that has ended, once a minute at most, and meanwhile say so. Raises `EngineError` always."""
        if self._restart is not None and self._restart.is_alive():
            raise EngineError(_COMING, rest_s=1.0)
        if self._failed is not None:
            failed, self._failed = self._failed, None
            raise failed
        now = time.monotonic()
        if now - self._revived_s < _AGAIN_S:
            raise EngineError(f"The shared engine ended twice within a minute; see {self._log}.", rest_s=_AGAIN_S)
        self._revived_s = now
        self._restart = threading.Thread(target=self._again, name="shared engine", daemon=True)
        self._restart.start()
        raise EngineError(_COMING, rest_s=1.0)

    @property
    def _log(self) -> Path:
        return self._at.with_suffix(".log")

    def _again(self) -> None:
        with contextlib.suppress(EngineError):
            self.ensure()

    def _start(self) -> None:
        """Under the lock: nobody listens and nobody is about to."""
        self.socket.unlink(missing_ok=True)
        command = [part.replace("{socket}", str(self.socket)) for part in self._command]
        # Its own door is the socket; the token of the environment is for engines elsewhere.
        environment = {key: value for key, value in os.environ.items() if key != "PASS_LSP_TOKEN"}
        with open(self._log, "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as log:
            process = self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                cwd=self._at.parent,
                env=environment,
                start_new_session=True,
            )
        with contextlib.suppress(psutil.Error):
            born = psutil.Process(process.pid).create_time()
            self._at.with_suffix(".pid").write_text(json.dumps([process.pid, born]))
        # Nobody waits for it otherwise, and an editor lives long enough to be asked about its dead.
        threading.Thread(target=process.wait, daemon=True).start()

    def _wait(self, report: Report) -> None:
        """Under the lock: until it answers. It is started once, also where one was still there but about to end."""
        end, started = time.monotonic() + _LOAD_S, False
        while (status := self._status()) != _HEALTHY:
            if status == _NOBODY and not self._alive():
                if started:
                    raise EngineError(
                        f"The shared engine did not start{self._last_words()}; see {self._log}.", rest_s=_AGAIN_S
                    )
                report("Starting the shared engine")
                self._start()
                started = True
            if time.monotonic() > end:
                raise EngineError(f"The shared engine is not ready after {_LOAD_S:.0f} s; see {self._log}.")
            time.sleep(_POLL_S)
            report("The shared engine loads its model")

    def _healthy(self) -> bool:
        return self._status() == _HEALTHY

    def _status(self) -> int:
        """What `/health` says; `_NOBODY` if nobody is there."""
        try:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect(str(self.socket))
        except OSError:
            return _NOBODY
        # No certificates: reading those of the system takes longer than all else here, and this is asked many times.
        door = httpx2.HTTPTransport(uds=str(self.socket), verify=False)
        try:
            with httpx2.Client(transport=door, timeout=2.0) as client:
                return client.get("http://localhost/health").status_code
        except httpx2.TimeoutException:
            return 503
        except httpx2.HTTPError:
            return _NOBODY

    def _alive(self) -> bool:
        """Whether the process that was started last still runs; a number used again has another birth."""
        try:
            if self._process is not None and self._process.returncode is None:
                # Not `poll`: that says nothing of a dead child while the thread that waits for it has not woken.
                return psutil.Process(self._process.pid).status() != psutil.STATUS_ZOMBIE
            pid, born = json.loads(self._at.with_suffix(".pid").read_text())
            process = psutil.Process(pid)
            # The time of birth is counted from that of the boot, which is told a little differently each time.
            return abs(process.create_time() - born) < _BIRTH_S and process.status() != psutil.STATUS_ZOMBIE
        except (OSError, ValueError, TypeError, psutil.Error):
            return False

    def _last_words(self) -> str:
        with contextlib.suppress(OSError):
            lines = self._log.read_bytes()[-2000:].decode("utf-8", "replace").strip().splitlines()
            if lines and lines[-1].startswith("pass-lsp: "):
                return f": {lines[-1].removeprefix('pass-lsp: ').rstrip('.')}"
        return ""


_COMING = "The shared engine has ended and is being started again; suggestions come back by themselves."
_ENGINE = (
    *(sys.executable, "-m", "pass_lsp", "engine", "--uds", "{socket}"),
    *("--idle-minutes", str(IDLE_MINUTES)),
)


def _options(settings: Settings) -> list[str]:
    """What the engine is loaded with, the same from whatever folder an editor was started in."""

    def whole(key: str) -> str:
        # A folder called `embedded`, in a repository that somebody cloned, is no model.
        name: str = getattr(settings, key)
        return name if name in KEYWORDS[key] or not os.path.isdir(name) else str(Path(name).resolve())

    options = ["--model", whole("model"), "--device", settings.device, "--dtype", settings.dtype]
    trust = ["--trust-remote-code"] if settings.trust_remote_code else []
    return [*options, "--lookahead", whole("lookahead"), *trust]


def _folder() -> Path:
    """Where sockets of this user lie: the system's folder for them, else the cache, unless its name is too long."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    folder = Path(runtime) / "pass-lsp" if Path(runtime).is_absolute() else user_cache() / "run"
    if len(os.fsencode(folder)) + 22 <= _LONGEST_SOCKET:
        return folder
    return Path(tempfile.gettempdir()) / f"pass-lsp-{os.getuid()}"


def _private(folder: Path) -> Path:
    """A folder that nobody else can read or has made. Raises `ConfigError`."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
        if found.st_uid != os.getuid() or not folder.is_dir() or folder.is_symlink():
            raise ConfigError(f"{folder} belongs to somebody else; remove it, or leave the setting engine empty.")
        folder.chmod(0o700)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be made ({error.strerror}); leave the setting engine empty.") from error
    return folder
