"""`pgcli sweep`: trials of a search over hyperparameters, on top of Optuna.

A trial is a training run with a deterministic name. The study is the queue of trials;
files of the sweep's directory are the record. Imports training and what is below.
"""
