"""`pgcli ladder`: its plan, jobs, curves, claims and the gradient noise.

May import `pgcli.report`, `pgcli.training` and all below; neither the terminal nor
rich.
"""
