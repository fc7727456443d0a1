"""`pgcli ladder`: its plan, its jobs, curves, claims and the noise of gradients.

May import `pgcli.report`, `pgcli.training` and all below; neither the terminal nor
rich.
"""
