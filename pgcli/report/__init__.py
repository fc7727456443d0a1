"""Pictures of several runs.

May import `pgcli.training` and all below; neither the terminal nor rich.
"""
