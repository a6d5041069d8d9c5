"""Supervision: who starts which actor, and what happens when one ends.

The decisions are pure and stand in `child`, `intensity`, `strategy`, `action` and `children`:
no actor, no clock, no loop. The supervisor actors carry them out, and `tree` is what they show.
"""
