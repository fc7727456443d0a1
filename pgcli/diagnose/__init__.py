"""Diagnosis: where time goes, what a machine offers, whether environments are sound.

May import `pgcli.training` and all below; neither the terminal nor rich.
"""
