"""The real Cog HTTP server for tests."""
from checks.server import CogServer, data_uri, free_port, wave_of

__all__ = ["CogServer", "data_uri", "free_port", "wave_of"]
