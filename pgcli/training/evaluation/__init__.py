"""Evaluation of agents, on the device or the host, and loading them from disk.

Statistics of returns are here too. May import `pgcli.training` and what that may
import.
"""
