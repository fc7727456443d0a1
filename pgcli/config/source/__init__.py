"""Where a configuration comes from: YAML files, the command line, presets.

May import `pgcli.config.errors`; returns plain data with the place of every key.
"""
