"""Evaluation of agents on the device or the host, and loading of saved agents.

May import `pgcli.training` and the rooms below it.
"""
