"""Compiled programs kept for later processes: their keys, and the files.

A warm start then neither traces nor compiles. May import `pgcli.training` and the rooms
below it.
"""
