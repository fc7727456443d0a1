"""Environments: the contract, the registry of ids, and modules named by the user.

Packages: `device` (on-device back ends), `host` (Gymnasium, in this process),
`workers` (helper processes and threads) and `state` (capturing and restoring). `make`
selects the packages that a configuration needs. May import the data classes of
`pgcli.config`, `pgcli.arrays` and `pgcli.errors`.
"""
