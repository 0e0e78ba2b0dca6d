"""`python -m pass_lsp` is `pass-lsp`."""

from pass_lsp.cli import main

main()
