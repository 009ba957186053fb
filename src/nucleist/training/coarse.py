"""A warning of the coarse mask of a net with two passes, where the second net depends on it."""

from nucleist.training.task import TestScores
from nucleist.types import Progress

LEAST = 0.82
"""Below this mean IU of the coarse mask the second net depends on it (Yang et al. 2020, Fig. 2)."""


def warn_of_coarse(progress: Progress, *tested: TestScores | None) -> None:
    """Warn if the coarse mask is poor; nothing for nets with one pass.

    Args:
        progress: Gets the warning.
        *tested: What tests or validations gave; the first counts that is about complete images.
    """
    every = [one.fixed.scores.get("coarse_mean_iu_per_image") for one in tested if one]
    found = next((value for value in every if value is not None), LEAST)
    if found < LEAST:
        progress.warn(
            f"the coarse mask has a mean IU of {found:.2f}; below {LEAST} the second net depends "
            "on it (nucleist metrics coarse_mean_iu): train longer, or take another model.coarse"
        )
