"""Open text, and positions in it. Knows nothing of LSP types."""
