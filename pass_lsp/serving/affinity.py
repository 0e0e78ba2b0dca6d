"""Ray's router with `Homes`: a document's replica first, unless it has the more to do."""

# Ray is an extra that most environments lack; types are checked without it too.
# pyright: reportMissingImports=false

from __future__ import annotations

from typing import Any

from ray.serve.experimental.consistent_hash_router import ConsistentHashRouter

from pass_lsp.serving.homes import Homes
from pass_lsp.serving.scheduler import IN_TURN


class Affinity(ConsistentHashRouter):
    """Ray's own ring by `x-session-id` proposes replicas; `Homes` and the full rounds that wait at each order them."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._homes: Homes[Any] = Homes()

    async def choose_replicas(self, candidate_replicas: list[Any], pending_request: Any = None) -> list[list[Any]]:
        """The replicas to try, best first; a session's home may hand a request over and stays its home."""
        ranks = await super().choose_replicas(candidate_replicas, pending_request)
        session = pending_request.metadata.session_id if pending_request is not None else ""
        if session and ranks:
            known = {rank[0].replica_id: rank for rank in ranks}
            ranks = [known[replica] for replica in self._homes.order(session, list(known))]
        return sorted(ranks, key=self._rounds)

    def _rounds(self, rank: list[Any]) -> int:
        ongoing = self.replica_queue_len_cache.get(rank[0].replica_id) or 0
        return ongoing // IN_TURN
