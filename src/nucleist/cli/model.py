"""What every verb takes that loads a model."""

from typing import Any

from nucleist.cli.words import Words, names, text

MODEL_SETTINGS = {"device": text, "trust": names}
"""Settings of `nucleist.load`."""


def model_options(words: Words) -> dict[str, Any]:
    """Options of the net, from `model.KEY=VALUE`, removed from the settings.

    Raises:
        UserError: If a value cannot be read.
    """
    own = words.take_under("model.")
    if not own:
        return {}
    from nucleist.config.options import parsed

    return parsed(own)
