"""The configuration: its schema, its validation and its explanation; plain data.

`source` reads what it is made of. May import `pgcli.errors`; never JAX, NumPy or
Gymnasium. Only `validate` imports pydantic.
"""
