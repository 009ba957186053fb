"""Settings of all verbs that load a model, and the work of the two that take images."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nucleist.cli.words import Words, looks_like_a_file, names, read, text, wants_help

MODEL_SETTINGS = {"device": text, "trust": names}
"""Settings of `nucleist.load`."""


def model_options(words: Words) -> dict[str, Any]:
    """Options of net and normalisation, removed from the settings.

    They are `model.KEY=VALUE` and `normalize.KEY=VALUE`; the latter keep their prefix.

    Raises:
        UserError: If a value cannot be read.
    """
    own = words.take_under("model.")
    own += [f"normalize.{word}" for word in words.take_under("normalize.")]
    if not own:
        return {}
    from nucleist.config.options import parsed

    return parsed(own)


def nested(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by argument: `slurm.jobs` and `slurm.cores` are one argument, a dict."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        argument, _, key = name.partition(".")
        if key:
            found.setdefault(argument, {})[key] = value
        else:
            found[argument] = value
    return found


def images_through_a_model(
    verb: str,
    arguments: Sequence[str],
    usage: str,
    kinds: Mapping[str, Callable[[str], Any]],
    function: str,
) -> Any:
    """Run `VERB MODEL IMAGES... -o FOLDER key=value ...` and print the folder.

    Args:
        verb: The verb.
        arguments: The words after it.
        usage: Its help.
        kinds: Its settings, and what makes a value of each text.
        function: Name of the function of `nucleist` that does the work.

    Returns:
        What that function returns; None if only the help was asked for.

    Raises:
        UserError: If a word is missing or a setting is not what it should be.
    """
    if wants_help(arguments):
        print(usage, end="")
        return None
    words = read(verb, arguments)
    options = model_options(words)
    settings = words.take(**kinds)
    words.nothing_left(kinds)
    model, *images = words.some("MODEL", "IMAGES")
    output = words.place()
    if looks_like_a_file(model) and not model.lower().endswith((".ckpt", ".safetensors")):
        words.refuse(f"names {model} as MODEL, which is an image; MODEL comes first, then IMAGES")
    import nucleist
    from nucleist.progress import Console

    do = getattr(nucleist, function)
    given = nested(settings)
    found = do(model, images, output, options=options, progress=Console(), **given)
    print(output)
    return found
