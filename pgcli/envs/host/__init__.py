"""Gymnasium environments, made and stepped in this process.

Wrappers, Atari games, natively vectorised environments and our own vectoriser. May
import `pgcli.envs.state` and the modules directly in `pgcli.envs`; never JAX.
"""
