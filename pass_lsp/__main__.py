"""`python -m pass_lsp` is `pass-lsp`; Ctrl-C is quiet while the command line is still being read from the disk, too."""

import sys


def main() -> None:
    """Run the command line."""
    try:
        from pass_lsp.cli import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
