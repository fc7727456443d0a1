"""Child processes, or a thread, that step a share of the host environments.

May import `pgcli.envs.host`, `pgcli.envs.state` and the modules directly in
`pgcli.envs`; never JAX, so that a child process starts quickly.
"""
