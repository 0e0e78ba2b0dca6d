"""Numbers about the work, never about the text: times, counts, and this user's own ledger."""
