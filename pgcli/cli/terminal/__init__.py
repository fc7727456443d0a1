"""The terminal: streams, live view, help, formatting, errors. Only this room prints.

May import `pgcli.errors` and types of the lower rooms, but no command.
"""
