"""Speech from your own code: `from speech import load`. What it does is in `service/api.py`."""

from service.api import Speech, TextToSpeech, load

__all__ = ["Speech", "TextToSpeech", "load"]
