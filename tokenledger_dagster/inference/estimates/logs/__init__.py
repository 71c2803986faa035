"""Texts and counts out of the agents' logs, a reader per client.

Here: of each prompt and answer what is counted of its text, and the provider's count where the log tells one. Not here:
the words a person typed (`prompts`): what was sent holds more than these. No text is kept by any of these modules.
"""
