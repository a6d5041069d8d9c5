"""Model providers over HTTP; the only room that knows httpx and msgspec.

Nothing is imported here: the contract is in `puckstream.backends.base`, and a provider loads its
HTTP client when it is asked for.
"""

__all__: list[str] = []
