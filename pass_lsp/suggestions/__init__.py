"""What was suggested before, and is still right: the answers that need no model."""

from pass_lsp.suggestions.cache import Recalled, Suggestions
from pass_lsp.suggestions.suggestion import Suggestion, agree, suggestion_at

__all__ = ["Recalled", "Suggestion", "Suggestions", "agree", "suggestion_at"]
