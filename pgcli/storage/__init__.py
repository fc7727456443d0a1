"""What is on disk: run directories, checkpoints, their manifests, locks, logs.

Every change to the disk passes `files`, where tests make it fail. May import
`pgcli.errors` only; knows nothing of training.
"""
