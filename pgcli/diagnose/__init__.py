"""Diagnosis: `pgcli bench`, `pgcli doctor` and `pgcli envs check`.

May import `pgcli.training` and all below; neither the terminal nor rich.
"""
