"""Gymnasium environments, made and stepped in this process.

Wrappers, games, natively vectorised environments and the vectoriser of our own. May
import `pgcli.envs.state` and what is directly in `pgcli.envs`; never JAX.
"""
