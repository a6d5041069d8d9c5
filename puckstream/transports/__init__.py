"""Nodes linked by frames: transports, the link protocol, and what travels over it."""
