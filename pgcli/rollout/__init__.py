"""Collection: `Rollout`, and the collectors that fill it on the device or the host.

May import `pgcli.nn`, the contracts of `pgcli.envs` and `pgcli.arrays`; never
Gymnasium, an algorithm or a file.
"""
