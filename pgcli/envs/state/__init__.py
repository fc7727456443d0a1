"""The state of a host environment: captured, stored as plain data, restored.

May import `pgcli.errors` and `base` and `failures` of `pgcli.envs`. No stored code is
ever executed.
"""
