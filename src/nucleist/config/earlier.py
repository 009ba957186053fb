"""Options that were added when the meaning of a net without them changed.

Every configuration file has them, so a stored configuration without them is of an earlier version,
and is built as it was meant then.
"""

from collections.abc import Mapping
from typing import Any

_MAPS = ("nucleist.models.deeplabv3", "nucleist.models.dist")

BEFORE: Mapping[str, Mapping[str, Any]] = {
    "nucleist.models.mask_rcnn": {"mask_alignment": "torchvision"},
    "nucleist.models.mask_rcnn_pa": {"mask_alignment": "torchvision", "certain_background": False},
    **{name: {"background": "all"} for name in _MAPS},
}
"""What a constructor did before it had the option, by its name."""

NOW: Mapping[str, Mapping[str, Any]] = {
    "nucleist.models.mask_rcnn": {"mask_alignment": "exact"},
    "nucleist.models.mask_rcnn_pa": {"mask_alignment": "exact", "certain_background": True},
    **{name: {"background": "similar"} for name in _MAPS},
}
"""What it does without the option today."""


def lacking(node: Any, values: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The options that a configuration node lacks, with their values.

    Args:
        node: A mapping with `_target_`; anything else lacks nothing.
        values: `BEFORE` for what was stored, `NOW` for what is written today.
    """
    if not isinstance(node, Mapping):
        return {}
    options = values.get(str(node.get("_target_")), {})
    return {key: value for key, value in options.items() if key not in node}
