"""Files of a run: run directories, checkpoints, manifests, locks, logs and curves.

All changes to the disk go through `files`, so that tests can make them fail. May import
`pgcli.config`, `pgcli.arrays` and `pgcli.charts`, and is independent of training.
"""
