"""What a deployment is made of, in a file to edit. No Ray in here."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from pass_lsp.errors import ConfigError

TEXT = """\
# What `pass-lsp deploy --config FILE` runs. Change it and run the command again (or send the running one SIGHUP):
# replicas are replaced one at a time, and no request fails. `host`, `port` and what begins with `ray_` hold until the
# running one ends.

model = "embedded"          # or a directory that is there on every machine, or a hub id
device = "auto"
dtype = "auto"
lookahead = "auto"
trust_remote_code = false   # whether the model may bring its own code

# Replicas of the engine. Each decodes one forward at a time; docs/sizing.md has the arithmetic.
replicas = 1                # at least
most_replicas = 1           # at most; more than `replicas` turns autoscaling on
gpus = 0.0                  # of a GPU for each replica: 0.25 puts four on one; 0 is CPU only
cpus = 1.0
requests_per_replica = 2.0  # what autoscaling aims at
max_queue = 16              # requests that may wait at a replica; beyond it they get 429
max_tokens = 512
max_seconds = 30.0

# Where the completions are served. Any address but loopback demands a token, in PASS_LSP_TOKEN or this file.
host = "127.0.0.1"
port = 8765
token_file = ""

# "" starts a Ray of its own, on this machine, for as long as the command runs. "auto" or HOST:PORT joins a cluster
# that `ray start` made. Whoever reaches Ray's own ports can run code on it: token authentication is on, and
# should stay on. A Ray of its own gets a token made up at the start; a cluster's is in RAY_AUTH_TOKEN or ~/.ray.
# On a cluster the command returns when the replicas serve; the same with --stop takes them off again.
ray_address = ""
ray_token_authentication = true
"""

_LASTING = ("host", "port", "ray_address", "ray_token_authentication")
"""Settings that Ray takes when it starts, and never after."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The settings of `TEXT`, by the same names."""

    model: str = "embedded"
    device: str = "auto"
    dtype: str = "auto"
    lookahead: str = "auto"
    trust_remote_code: bool = False
    replicas: int = 1
    most_replicas: int = 1
    gpus: float = 0.0
    cpus: float = 1.0
    requests_per_replica: float = 2.0
    max_queue: int = 16
    max_tokens: int = 512
    max_seconds: float = 30.0
    host: str = "127.0.0.1"
    port: int = 8765
    token_file: str = ""
    ray_address: str = ""
    ray_token_authentication: bool = True

    def __post_init__(self) -> None:
        if self.replicas < 1:
            raise ConfigError("replicas must be 1 or more, so that nobody waits for a model to load.")
        if not 0 < self.port < 65536:
            raise ConfigError(f"port is {self.port}; use one from 1 to 65535.")
        if min(self.gpus, self.max_queue, self.cpus) < 0:
            raise ConfigError("gpus, cpus or max_queue is negative; use 0 or more.")
        if self.gpus > 1 and self.gpus % 1:
            raise ConfigError(f"gpus is {self.gpus:g}; Ray gives a share below 1 or whole ones.")
        if min(self.requests_per_replica, self.max_seconds, self.max_tokens) <= 0:
            raise ConfigError("requests_per_replica, max_seconds or max_tokens is 0 or less; use more.")

    @property
    def most(self) -> int:
        """Replicas at most."""
        return max(self.most_replicas, self.replicas)

    def following(self, before: Plan) -> Plan:
        """This plan, in the place of `before`, which runs. Raises `ConfigError` where that takes a new start."""
        changed = [name for name in _LASTING if getattr(self, name) != getattr(before, name)]
        if changed:
            raise ConfigError(f"{' and '.join(changed)} cannot change while it runs; end the command and run it again.")
        return self


def read(path: Path | None, given: Mapping[str, Any]) -> Plan:
    """The plan of a file (or the defaults), with what the command line gives over it. Raises `ConfigError`."""
    try:
        found = tomllib.loads(path.read_text("utf-8-sig")) if path else {}
    except FileNotFoundError as error:
        raise ConfigError(f"The file {path} cannot be read; make one with: pass-lsp deploy --write {path}.") from error
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"The file {path} cannot be read; give a text file that you may read.") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"The file {path} is not TOML ({error}); correct that line.") from error
    types = {field.name: type(field.default) for field in fields(Plan)}
    for name, value in found.items():
        if name not in types:
            raise ConfigError(f"Unknown setting {name!r} in {path}; it may have {', '.join(types)}.")
        if types[name] is float and type(value) is int:
            found[name] = float(value)
        elif type(value) is not types[name]:
            raise ConfigError(f"The setting {name!r} in {path} must be of type {types[name].__name__}.")
    return Plan(**{**found, **given})
