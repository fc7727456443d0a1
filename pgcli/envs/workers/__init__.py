"""Child processes, or a thread, that step a share of the host environments.

May import `pgcli.envs.host`, `pgcli.envs.state` and what is directly in `pgcli.envs`;
never JAX, so that a child process is ready soon.
"""
