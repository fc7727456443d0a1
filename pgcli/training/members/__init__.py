"""Members: several seeds or grid points trained in one run.

May import `pgcli.training` and the rooms below it.
"""
