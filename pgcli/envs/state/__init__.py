"""The state of a host environment: captured, stored as plain data, restored.

May import `pgcli.envs.base` and `pgcli.errors`. No stored code is ever executed.
"""
