"""The terminal: streams, live view, help, formatting, errors. Nothing else prints.

May import `pgcli.errors` and types from below; never a command.
"""
