"""The real Cog HTTP server for tests."""

from checks.server import ANSWER_SECONDS, CogServer, data_uri, free_port, wave_of

__all__ = ["ANSWER_SECONDS", "CogServer", "data_uri", "free_port", "wave_of"]
