"""Checks of the embedding model and of what is estimated with it, a step for each so that one holds back the next.

Here: which of them are inspected together. Not here: what must hold of them.
"""

from checks.common import invariant_check

GROUPS = {
    "embedding_model_checks": ("embedding_model",),
    "session_vector_checks": ("session_vectors",),
    "estimate_checks": ("session_activity", "token_estimates", "mapping_suggestions"),
}
CHECKS = [invariant_check(name, tables) for name, tables in GROUPS.items()]
