"""Being written by the engine tests helper of 07:05 (08:37)."""
