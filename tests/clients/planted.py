"""What must never be found in a ledger, and a look through every byte of one.

Here: planted prompts, keys and addresses for the clients' tests.  Not here: any client's layout.
"""

from __future__ import annotations

from pathlib import Path

PROMPT = "PLANTED-PROMPT-7f1c"
KEY = "sk-PLANTED-KEY-b2d9"
MAIL = "planted-91@example.org"
SECRETS = (PROMPT, KEY, MAIL)


def found_below(folder: Path) -> list[str]:
    """Planted texts in any file below ``folder``."""
    contents = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    return [secret for secret in SECRETS if any(secret.encode() in content for content in contents)]
