"""Objects from configuration nodes; an argument that does not fit is reported in one line."""

import re
from typing import Any

import hydra
from hydra.errors import InstantiationException
from omegaconf import OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from nucleist.config.earlier import BEFORE, lacking
from nucleist.types import UserError


def build(node: Any, **extra: Any) -> Any:
    """Instantiate a configuration node; one of an earlier version as that version did.

    Args:
        node: A node with `_target_`.
        **extra: Further arguments of its constructor.

    Raises:
        UserError: As raised by the constructor, or if an argument does not fit it.
    """
    try:
        return hydra.utils.instantiate(node, **{**lacking(node, BEFORE), **extra})
    except InstantiationException as error:
        cause = _user_error(error)
        if cause is not None:
            raise cause from None
        inner = error.__cause__ or error
        key = re.search(r"full_key: (\S+)", str(error))
        where = key.group(1) if key else "configuration"
        raise UserError(f"{where}: {' '.join(str(inner).split())}") from error
    except MissingMandatoryValue as error:
        name = str(error).splitlines()[0].rpartition(" ")[2]
        raise UserError(f"{name} has no value; write {name}=VALUE") from error
    except OmegaConfBaseException as error:
        raise UserError(str(error).splitlines()[0]) from error


def plain(node: Any) -> Any:
    """A configuration as plain dicts, lists and numbers, with all references resolved.

    Raises:
        UserError: If a reference cannot be resolved.
    """
    try:
        return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
    except OmegaConfBaseException as error:
        raise _user_error(error) or UserError(str(error).splitlines()[0]) from error


def _user_error(error: BaseException | None) -> UserError | None:
    """The `UserError` that another exception was raised from, if any."""
    while error is not None and not isinstance(error, UserError):
        hidden = error.__suppress_context__
        error = error.__cause__ or (None if hidden else error.__context__)
    return error
