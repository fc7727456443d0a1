"""One run on several processes, which may be on several machines.

Process 0 leads: it alone has the session, the run directory and all decisions, and
sends commands. The others follow. `processes`, `link`, `leader` and `follow` know
nothing of the loops; each loop of this room adds a way to split the work. May import
`pgcli.training.loops`, `pgcli.training.members`, `pgcli.training.backend` and
`pgcli.envs`.
"""
