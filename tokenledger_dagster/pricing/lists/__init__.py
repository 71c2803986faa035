"""Optional price lists behind the built-in one, as rows of a rate table.

`litellm.py` and `models_dev.py` read what a list's publisher writes, `converted.py` turns the prices of both into rate
rows, `store.py` imports a list and keeps it in the home, `compare.py` says where two tables differ. Which row prices a
request is not decided here.
"""
