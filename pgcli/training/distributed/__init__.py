"""One run on several processes, which may be on several machines.

Process 0 leads: it alone has the session, the run directory and all decisions, and
sends commands. The others follow. `processes`, `link`, `greeting`, `leader` and
`follow` know nothing of the loops; `split_*` are the ways to share out work. May import
`pgcli.training.loops`, `pgcli.training.members`, `pgcli.training.backend` and
`pgcli.envs`.
"""
