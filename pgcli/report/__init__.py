"""Runs presented: pictures, comparisons, videos and HTML pages.

May import `pgcli.training` and all below; neither the terminal nor rich.
"""
