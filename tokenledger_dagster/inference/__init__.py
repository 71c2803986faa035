"""Embeddings on this machine: one model, several backends, and what they are good for.

Here: artifacts and their checks, backends and the chain between them, tokenizers, and the uses: search by meaning,
activity, suggestions, estimates. Not here: anything that books or prices; what these modules say is an estimate.

Importing a module of this package imports neither numpy nor a runtime: those wait inside functions.
"""
