"""Line charts without a plotting library: rows of a log, SVG and terminal text.

May import nothing else of pgcli; used by `pgcli.training` and all above.
"""
