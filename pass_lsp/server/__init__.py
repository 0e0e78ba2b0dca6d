"""The language server. The only room that imports pygls and lsprotocol."""
