"""Trained policies as files that run without pgcli: one module per format.

May import `pgcli.training` and all below; neither the terminal nor rich.
"""
