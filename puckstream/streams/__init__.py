"""Streams: supervised runs of a model or of the user's own function.

The pure half of this room knows no actor, no loop and no clock; times are passed in:
`events`, `context`, `response`, `policy`, `log` and `shelf`.
"""
