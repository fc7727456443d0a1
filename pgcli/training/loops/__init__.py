"""The loops of collect and update, on the device and fed from host environments.

May import `pgcli.training.evaluation`, `pgcli.training.backend`, and what an iteration
needs of the modules directly in `pgcli.training`: `step`, `state`, `seeds`, `timing`.
"""
