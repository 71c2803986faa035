"""List prices: which rate a request falls under and what it costs in nano-USD.

`rates.py` reads the committed table and resolves rates, `context.py` says under which channel and context a request is
looked up, `events.py` prices one event, `resolve.py` and `price_events.sql` price many, `generate.py` (with
`generate_rows.py`) rebuilds the table from the price list. Plans, allocation and totals are the ledger's, not this
package's.
"""
