"""Policies: networks, action distributions, running normalisation; pure functions.

May import the spaces of `pgcli.envs.base`, the configuration's data classes and
`pgcli.arrays`.
"""
