"""Settings: what the environment says, or a message that names the variable."""

import dataclasses

import pytest

from pipeline.strict import ConfigError
from service.settings import Settings


def test_nothing_set_and_everything_empty_are_the_defaults():
    plain = Settings.read({})
    assert plain == Settings("tiny-en", ("emotion_text", "denoise"), 600.0, "fast", 0, 8, 0, 64, "INFO", None)
    names = [field.metadata["variable"] for field in dataclasses.fields(Settings)]
    assert Settings.read(dict.fromkeys(names, " ")) == dataclasses.replace(plain, features=())


def test_what_is_given_comes_before_the_environment():
    environment = {"INDEXTTS_MODEL": "mini", "INDEXTTS_FEATURES": "denoise", "INDEXTTS_LOG_LEVEL": "debug"}
    assert Settings.read(environment, model="tiny-en") == Settings(
        "tiny-en", ("denoise",), 600.0, "fast", 0, 8, 0, 64, "DEBUG", None
    )
    assert Settings.read(environment, model=None).model == "mini"


@pytest.mark.parametrize(
    "name, value, message",
    [
        ("INDEXTTS_FEATURES", "video", "INDEXTTS_FEATURES names video; allowed: emotion_text, denoise"),
        ("INDEXTTS_LOG_LEVEL", "loud", "INDEXTTS_LOG_LEVEL is 'loud'; allowed: DEBUG"),
        *(
            ("INDEXTTS_TIME_LIMIT", text, f"INDEXTTS_TIME_LIMIT is '{text}'; allowed: seconds above 0")
            for text in ("soon", "0", "-5", "nan", "inf")
        ),
    ],
)
def test_a_value_that_cannot_be_used_is_named(name, value, message):
    with pytest.raises(ConfigError, match=message):
        Settings.read({name: value})
