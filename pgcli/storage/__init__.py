"""Files of a run: run directories, checkpoints, manifests, locks and logs.

All changes to the disk go through `files`, so that tests can make them fail. May import
`pgcli.errors` and `pgcli.suggest`, and is independent of training.
"""
