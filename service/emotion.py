"""The emotion vector of a request, from its one source of emotion."""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.conditioning.emotion import blend, from_weights, parse_weights, temper
from pipeline.conditioning.emotion_text import MAX_CHARACTERS, EmotionReader
from pipeline.model import Model
from pipeline.text.markup import Speech, split_markup
from pipeline.timing import OnProgress, no_progress
from pipeline.voice import Voice
from service.reference import References
from service.request import Request


class Emotions:
    """Reads emotions for one model; reader: of texts, where the model has one."""

    def __init__(self, model: Model, references: References, reader: EmotionReader | None):
        self.model, self.references, self.reader = model, references, reader

    def vector(self, request: Request, voice: Voice, on_progress: OnProgress = no_progress) -> Tensor:
        """[1, D] of the request's emotion source; the voice's own without any. Raises ValueError."""
        config = self.model.config.emotion
        if request.emotion_audio is not None:
            other = self.references.emotion(request.emotion_audio, request.reference_options(), on_progress)
            return blend(voice.emotion_vector, other, request.emotion_alpha)
        if request.emotion_vector is not None:
            weights = parse_weights(request.emotion_vector, config)
        elif request.emotion_text is not None:
            weights = self.read(request.emotion_text)
        elif request.emotion_from_text:
            speeches = (part.text for part in split_markup(request.text or "") if isinstance(part, Speech))
            weights = self.read(" ".join(speeches)[:MAX_CHARACTERS])
        else:
            return voice.emotion_vector
        scaled = [request.emotion_alpha * weight for weight in temper(weights, config)]
        generator = torch.Generator().manual_seed(request.seed or 0) if request.emotion_random else None
        return from_weights(
            scaled,
            voice.emotion_vector,
            voice.style,
            self.model.speaker_matrix,
            self.model.emotion_matrix,
            config,
            generator,
        )

    def read(self, text: str) -> list[float]:
        """Weights of the emotions in a text. Raises ValueError where the model has no reader."""
        if self.reader is None:
            raise ValueError(
                "reading the emotion of a text needs the text emotion model, which this model directory does "
                "not hold; use emotion_vector or emotion_audio"
            )
        return self.reader.weights(text)
