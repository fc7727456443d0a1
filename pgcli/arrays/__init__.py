"""What pure code on arrays shares: shapes in signatures, the device mesh, blocks.

Exact counts and samples in blocks are here too. May import JAX, and nothing of pgcli.
"""
