"""Where completions are decoded: in this process (`local`), or by a server (`remote`)."""
