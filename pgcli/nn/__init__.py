"""Policies: networks, action distributions and running normalisation, all pure.

May import the spaces of `pgcli.envs.base`, the configuration's data classes and
`pgcli.arrays`.
"""
