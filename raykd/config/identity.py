"""Which configurations are the same: as points, as recipes of generation 0, as what a teacher reads."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

from raykd.config.digest import digest
from raykd.config.influence import recipe
from raykd.config.point import PointBase


@dataclass(frozen=True)
class Identity:
    """What a configuration is called and what it shares with others, each derived once."""

    config: PointBase

    @cached_property
    def recipe(self) -> dict[str, Any]:
        """All of the configuration that its result depends on.

        Without a KD term there are no distillation keys; with a constant coefficient no rank cutoff and no window.
        Numbers of workers, ZeRO stage, precision and micro-batches change the rounding at least, so they stay.
        """
        return recipe(self.config)

    @cached_property
    def id(self) -> str:
        """The first 12 hex digits of the SHA-256 of the recipe."""
        return digest(self.recipe)

    @cached_property
    def base(self) -> str:
        """Fingerprint of generation 0, or of what its teachers start from: equal for all points that share it."""
        return digest(self.config.base_recipe())

    @cached_property
    def student(self) -> str:
        """Fingerprint of the first student: that of generation 0 unless the `student` section makes another one."""
        if not self.config.makes_student:
            return self.base
        return digest({"base": self.base, **self.config.student_recipe()})

    @cached_property
    def first_teachers(self) -> dict[str, str | None]:
        """Fingerprint of each teacher of generation 1 -> the language it teaches, None for all."""
        return dict(self.config.first_teachers(self.base))

    @cached_property
    def given_teachers(self) -> dict[str, str]:
        """Fingerprint of each of them that is a model which the file names -> that model."""
        return dict(self.config.given_teachers(self.base))

    @cached_property
    def generation_zero(self) -> dict[str, str | None]:
        """Fingerprint of each model that generation 0 is -> its language."""
        return dict(self.config.generation_zero(self.base))

    @cached_property
    def zero(self) -> str:
        """Names generation 0 in records: the fingerprint of its model, or of all of them where it is several."""
        models = list(self.generation_zero)
        return models[0] if len(models) == 1 else digest({"models": models})

    @cached_property
    def scores(self) -> PurePosixPath:
        """Name of the scores of generation 0, in the folder of results."""
        found = {"teachers": list(self.generation_zero), **self.config.score_recipe(self.config.selection_set)}
        return PurePosixPath("scores", f"{digest(found)}.json")

    def test_digest(self, name: str) -> str:
        """Says what a test set holds, whoever is scored on it: a score that has another one is of another set."""
        return digest(self.config.test_sets[name].model_dump(mode="json", exclude={"batch_tokens"}))

    def test_scores(self, name: str) -> PurePosixPath:
        """Name of the scores of generation 0 on a test set, in the folder of results."""
        found = {"teachers": list(self.generation_zero), **self.config.score_recipe(self.config.test_sets[name])}
        return PurePosixPath("test-scores", f"{digest(found)}.json")

    @cached_property
    def signals(self) -> str:
        """Names what the first teachers say about the training features: equal for all points that share it."""
        options = {"data": self.recipe["data"], "precision": self.config.compute.precision}
        return digest({"teachers": list(self.first_teachers), **options, **self.config.signal_options()})
