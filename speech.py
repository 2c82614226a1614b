"""Speech from your own code: `from speech import load`. What it does is in `service/api.py`."""

import os

# Before PyTorch is loaded, and unless something else is asked for: threads that wait do not spin for long, which costs
# many times what they compute where a machine does other things too (script/lib/threads.sh: the commands').
if os.environ.setdefault("OMP_WAIT_POLICY", "passive") == "passive":
    os.environ.setdefault("GOMP_SPINCOUNT", "5000")

from service.api import Speech, TextToSpeech, load

__all__ = ["Speech", "TextToSpeech", "load"]
