"""Devices of a run: accelerator, layout over devices, shardings.

JAX is started here. May import `pgcli.training` and the rooms below it.
"""
