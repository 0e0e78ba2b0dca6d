"""Completions from a server: ours, or one that others make."""

from pass_lsp.engines.remote.discovery import Wishes
from pass_lsp.engines.remote.engine import RemoteEngine
from pass_lsp.engines.remote.wire import Address, without_secrets

__all__ = ["Address", "RemoteEngine", "Wishes", "without_secrets"]
