"""What runs look like together: statistics over seeds, pictures.

May import `pgcli.training` and all below; neither the terminal nor rich.
"""
