"""The words a person typed, session by session, out of the logs of every client that holds them.

Here: one reader a client, what of a message nobody typed, masking of secrets, which session owns a prompt, and what is
remembered between runs.  Not here: usage (`clients`), what is made of the words (`search`), and whether they may be
read (`switch`).
"""

from tokenledger_dagster.inference.prompts.collect import forget_texts, session_prompts
from tokenledger_dagster.inference.prompts.found import PromptReport, SessionPrompts

__all__ = ["PromptReport", "SessionPrompts", "forget_texts", "session_prompts"]
