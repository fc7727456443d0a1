"""The configuration as plain data: schema, validation and explanation of keys.

`source` reads files and flags. May import `pgcli.errors`, but not JAX, NumPy or
Gymnasium. Only `validate` imports pydantic.
"""
