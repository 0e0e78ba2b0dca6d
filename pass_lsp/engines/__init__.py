"""Where completions are decoded: in this process (`local`), later also elsewhere."""
