"""Array code shared by the pure rooms: shapes in signatures, the device mesh, blocks.

Exact counts, samples in blocks and statistics of returns are here too. May import JAX
and NumPy, and nothing of pgcli.
"""
