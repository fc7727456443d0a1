"""On-device environments: one adapter per library, under one contract.

Each module is imported when an id names it, and only it imports the library. May import
`pgcli.envs.base`, `pgcli.envs.spaces` and `pgcli.envs.user_modules`.
"""
