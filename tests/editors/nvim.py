"""Drives a real Neovim, without a terminal, as its user would: keys in, buffer and extmarks out."""

from __future__ import annotations

import itertools
import socket
import subprocess
from pathlib import Path
from typing import Any

import msgpack

from tests.editors.conftest import LIMIT_S, Home, until

GHOST = """
local ns = vim.api.nvim_get_namespaces()[...]
local mark = ns and vim.api.nvim_buf_get_extmarks(0, ns, 0, -1, { details = true })[1]
if not mark then return vim.NIL end
local lines = { mark[4].virt_text or {} }
vim.list_extend(lines, mark[4].virt_lines or {})
return { at = { mark[2], mark[3] }, lines = vim.tbl_map(function(line)
  return table.concat(vim.tbl_map(function(chunk) return chunk[1] end, line))
end, lines) }
"""
SPACES = {"nvim-0.11": "pass_lsp", "nvim-0.12": "nvim.lsp.inline_completion"}
"""The namespace in which each version shows suggestions."""


class Nvim:
    """One running Neovim with `init` as the user's configuration, spoken to over its socket (MessagePack-RPC)."""

    def __init__(self, program: Path, home: Home, init: str) -> None:
        config = home.folder / "config" / "nvim"
        config.mkdir(parents=True, exist_ok=True)
        (config / "init.lua").write_text("vim.o.swapfile = false\n" + init)
        self.space = SPACES[program.name]
        address = home.folder / "nvim.sock"
        argv = [str(program), "--headless", "--listen", str(address)]
        null = subprocess.DEVNULL
        self._process = subprocess.Popen(argv, env=home.env, stdin=null, stdout=null, stderr=null)
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(2 * LIMIT_S)
        until(lambda: address.exists() and self._socket.connect_ex(str(address)) == 0, "Neovim listens")
        self._unpacker = msgpack.Unpacker(strict_map_key=False)
        self._ids = itertools.count()

    def call(self, function: str, *arguments: Any) -> Any:
        """Call a function of Neovim's API. Raises `RuntimeError` with its message."""
        me = next(self._ids)
        self._socket.sendall(msgpack.packb([0, me, f"nvim_{function}", arguments]))
        while True:
            for message in self._unpacker:
                if message[:2] == [1, me]:
                    if message[2]:
                        raise RuntimeError(message[2][1])
                    return message[3]
            data = self._socket.recv(1 << 16)
            assert data, "Neovim has hung up"
            self._unpacker.feed(data)

    def lua(self, code: str, *arguments: Any) -> Any:
        """Run a piece of Lua; what it returns."""
        return self.call("exec_lua", code, arguments)

    def keys(self, keys: str) -> None:
        """Type, in the notation of maps."""
        self.call("input", keys)

    def command(self, command: str) -> None:
        """Run an Ex command."""
        self.call("command", command)

    def text(self) -> str:
        """The buffer."""
        return "\n".join(self.call("buf_get_lines", 0, 0, -1, False))

    def line(self) -> str:
        """The cursor's line."""
        return self.call("get_current_line")

    def ghost(self, space: str = "") -> str | None:
        """The suggestion on the screen, if there is one."""
        found = self.lua(GHOST, space or self.space)
        return "\n".join(found["lines"]) if found else None

    def wait_for_ghost(self) -> str:
        """The suggestion, as soon as there is one."""
        return until(self.ghost, "ghost text")

    def screen(self) -> str:
        """What there is to be seen, for whoever looks into a failure."""
        parts = {"mode": self.call("get_mode")["mode"], "messages": self.messages(), "ghost": self.ghost()}
        return "\n".join(f"--- {name}\n{part}" for name, part in (parts | {"buffer": self.text()}).items())

    def messages(self) -> str:
        """All messages so far, errors among them."""
        return self.call("exec2", "messages", {"output": True})["output"]

    def close(self) -> None:
        """Leave without saving, as a user does, which ends the server too."""
        self._socket.sendall(msgpack.packb([2, "nvim_command", ["qa!"]]))
        try:
            self._process.wait(LIMIT_S)
        finally:
            self._process.kill()
            self._process.wait()
            self._socket.close()
