"""Emotion from text: a Qwen3 causal LM, fine-tuned to answer with eight scores, read as weights."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import torch

from pipeline.conditioning.emotion import ANSWER_KEYS, weights_from_answer
from pipeline.config import EmotionConfig

logger = logging.getLogger(__name__)

FOLDER = "qwen0.6bemo4-merge"
SYSTEM_MESSAGE = "文本情感分类"
MAX_ANSWER_TOKENS = 256
MAX_CHARACTERS = 1000
SCORE = re.compile(r"[\"']?([\u4e00-\u9fff]+)[\"']?\s*[:：]\s*(\d+(?:\.\d+)?)")


LABELS = {label: key for key, name in ANSWER_KEYS.items() for label in (key, name)}
LABELLED = re.compile(r"[\"']?([\w\u4e00-\u9fff]+)[\"']?\s*[:：]\s*[\"']?(" + "|".join(LABELS) + r")\b")
LABEL = re.compile(r"\W*(" + "|".join(LABELS) + r")\W*")


def read_scores(answer: str) -> dict[str, float]:
    """The scores of an answer by its keys. A label in a score's place, or alone, stands for 1 of that emotion and for
    none of the one that it is the value of."""
    scores = {key: float(score) for key, score in SCORE.findall(answer)}
    for key, label in LABELLED.findall(answer):
        if key in LABELS:
            scores[LABELS[key]] = 0.0
        scores[LABELS[label]] = 1.0
    alone = LABEL.fullmatch(answer)
    return scores if alone is None else {LABELS[alone[1]]: 1.0}


class EmotionReader:
    """Reads the emotion of a text. Loads from `directory`/qwen0.6bemo4-merge, never from a network."""

    def __init__(self, directory: Path, config: EmotionConfig, device: torch.device):
        from transformers import AutoModelForCausalLM, AutoTokenizer  # two seconds that only this needs

        folder = directory / FOLDER
        self.config = config
        self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self.model = (
            AutoModelForCausalLM.from_pretrained(
                folder,
                local_files_only=True,
                use_safetensors=True,
                dtype=torch.bfloat16 if device.type == "cuda" else torch.float32,
            )
            .to(device)
            .eval()
        )

    @staticmethod
    def available(directory: Path) -> bool:
        return (directory / FOLDER / "config.json").is_file()

    @torch.inference_mode()
    def answer(self, text: str) -> str:
        """The model's raw answer, greedily decoded."""
        messages = [{"role": "system", "content": SYSTEM_MESSAGE}, {"role": "user", "content": text}]
        prompt = self.tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True, enable_thinking=False
        )
        inputs = self.tokenizer([prompt], return_tensors="pt", add_special_tokens=False).to(self.model.device)
        output = self.model.generate(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            max_new_tokens=MAX_ANSWER_TOKENS,
            do_sample=False,
        )
        return self.tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)

    def weights(self, text: str) -> list[float]:
        """Eight emotion weights of `text`. An answer without scores counts as calm.

        Raises ValueError when the text is empty or too long."""
        text = text.strip()
        if not 0 < len(text) <= MAX_CHARACTERS:
            raise ValueError(f"emotion_text has {len(text)} characters; allowed: 1 to {MAX_CHARACTERS}")
        scores = read_scores(self.answer(text))
        if not scores:
            logger.warning("the emotion model gave no scores; the emotion is taken as calm")
        return weights_from_answer(scores, text, self.config)
