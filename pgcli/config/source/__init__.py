"""Sources of a configuration: YAML files, the command line, presets.

May import `pgcli.config.errors`; returns plain data with the place of every key.
"""
