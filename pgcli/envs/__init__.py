"""Environments: the contract, the catalogue of ids, and modules named by the user.

The rooms: `device` (on-device back ends), `host` (Gymnasium, in this process),
`workers` (processes that help) and `state` (capturing and restoring). `make` decides
which of them a configuration needs. May import the data classes of `pgcli.config`,
`pgcli.arrays` and `pgcli.errors`.
"""
