"""Reports as one HTML page that needs no network.

`page` puts the sections together, `figures` draws the curves, `markup` escapes. Style
and script are the files next to them.
"""
