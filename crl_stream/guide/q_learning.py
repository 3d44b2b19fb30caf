"""``QLearningEngine``: the learned value of each variant (guide: Usage Examples, 1)."""

from __future__ import annotations

from crl_stream.core.monitor.row import Variant
from crl_stream.guide.source import asked
from crl_stream.guide.store import Store


class QLearningEngine:
    """Read-only access to the Q-table, which is updated with every recorded outcome."""

    def __init__(self, *, store: Store | None = None) -> None:
        self.store = store or Store.default()

    def get_q_value(self, agent_name: str, task_type: str, variant_id: str) -> float:
        """Return the Q-value in [-1, 1]; 0.0 for an unknown variant."""
        variant = self._variant(agent_name, task_type, variant_id)
        return 0.0 if variant is None else variant.q

    def get_visit_count(self, agent_name: str, task_type: str, variant_id: str) -> int:
        """Return the variant's number of outcomes so far; 0 for an unknown variant."""
        variant = self._variant(agent_name, task_type, variant_id)
        return 0 if variant is None else variant.life.n

    def get_all_q_values(self) -> dict[tuple[str, str, str], float]:
        """Return the whole Q-table: Q-values by (agent_name, task_type, variant_id), sorted by name."""
        return {
            (row.agent_name, row.task_type, variant_id): row.variants[variant_id].q
            for row in self.store.source.rows()
            for variant_id in sorted(row.variants)
        }

    def _variant(self, agent_name: str, task_type: str, variant_id: str) -> Variant | None:
        which = asked(agent_name, task_type, variant_id)
        row = self.store.source.row(which.key)
        return None if row is None else row.variants.get(variant_id)
