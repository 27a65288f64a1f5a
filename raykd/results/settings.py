"""What readers need of a recorded configuration, whichever version of raykd resolved it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Settings:
    """The keys of a recorded point, or sweep, that readers look at; all of them may be missing.

    Attributes:
        keys: the configuration as JSON holds it.
    """

    keys: Mapping[str, Any]

    @property
    def task(self) -> str:
        """The task; empty where nobody recorded it."""
        return str(self.keys.get("task", ""))

    @property
    def base_model(self) -> str:
        """What generation 0 began as."""
        return str(self._section("base").get("model", ""))

    @property
    def num_generations(self) -> int:
        """Generations of a lineage that runs to its end."""
        return int(self._section("lineage").get("num_generations", 1))

    @property
    def epochs_per_generation(self) -> int:
        """Epochs of each of them."""
        return int(self._section("lineage").get("epochs_per_generation", 1))

    @property
    def num_epochs(self) -> int:
        """Epochs of the whole lineage."""
        return self.num_generations * self.epochs_per_generation

    @property
    def budget(self) -> Any:
        """How many items a point trains on: a number, or `all`."""
        return self._section("data").get("budget")

    @property
    def languages(self) -> tuple[str, ...]:
        """Languages of training."""
        return tuple(self._section("data").get("languages", ()))

    @property
    def evaluated_languages(self) -> tuple[str, ...]:
        """Languages that scores are taken in."""
        return tuple((self._section("selection") or self._section("evaluation")).get("languages", ()))

    @property
    def gpus_per_worker(self) -> float:
        """GPUs that a worker on a GPU holds."""
        return float(self._section("compute").get("gpus_per_worker") or 1.0)

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods of a sweep, in the order of its file."""
        return tuple(self.keys.get("methods") or ())

    @property
    def num_points(self) -> int:
        """Points that a searcher chooses, with all their seeds."""
        return int(self._section("search").get("num_points") or 0) * max(len(self.keys.get("seeds") or ()), 1)

    def _section(self, name: str) -> Mapping[str, Any]:
        found = self.keys.get(name)
        return found if isinstance(found, Mapping) else {}
