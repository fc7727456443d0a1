"""On-device environments: one adapter per library, under one contract.

Each adapter is imported when an id names it; only the adapter imports the library. May
import `pgcli.envs.base`, `pgcli.envs.spaces` and `pgcli.envs.user_modules`.
"""
