"""Which replica a request goes to: the one that holds its document's keys and values, unless that has the more to do.

Source: Mirrokni, Thorup, Zadimoghaddam, "Consistent Hashing with Bounded Loads", 2018; the bound is a round of turns.
"""

# Ray is an extra that most environments lack; types are checked without it too.
# pyright: reportMissingImports=false

from __future__ import annotations

from typing import Any

from ray.serve.experimental.consistent_hash_router import ConsistentHashRouter

from pass_lsp.serving.scheduler import IN_TURN


class Affinity(ConsistentHashRouter):
    """Ray's own ring by `x-session-id`, with its replicas in the order of the full rounds that wait at each."""

    async def choose_replicas(self, candidate_replicas: list[Any], pending_request: Any = None) -> list[list[Any]]:
        """The replicas to try, best first; of two with equally much to do, the document's own."""
        ranks = await super().choose_replicas(candidate_replicas, pending_request)
        return sorted(ranks, key=self._rounds)

    def _rounds(self, rank: list[Any]) -> int:
        ongoing = self.replica_queue_len_cache.get(rank[0].replica_id) or 0
        return ongoing // IN_TURN
