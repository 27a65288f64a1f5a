"""What a sweep looks like on a terminal while it runs."""

from typing import Any


class Display:
    """Draws the progress of a sweep: a line for each epoch, and a bar below them on a terminal."""

    def __init__(self, plan: Any) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self.console = Console(highlight=False, soft_wrap=True)
        columns = (
            TextColumn("epochs"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        self.bar = Progress(*columns, console=self.console, disable=not self.console.is_terminal)
        epochs = {
            point.id: point.config.lineage.num_generations * point.config.lineage.epochs_per_generation
            for point in plan.points
        }
        self.left = dict(epochs)
        self.task = self.bar.add_task("epochs", total=sum(epochs.values()) or None)
        self.done = 0

    def __enter__(self) -> "Display":
        self.bar.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self.bar.stop()

    def line(self, text: str) -> None:
        """Something happened."""
        self.console.print(text, markup=False)

    def epoch(self, point: Any, report: Any) -> None:
        """A point did an epoch."""
        score = f"  dev {report['dev_score']:.1f}" if report["dev_score"] is not None else ""
        coefficient = f"  coefficient {report['coefficient']:.2f}" if report["coefficient"] not in (None, 1.0) else ""
        parts = "".join(f", {name} {value:.3f}" for name, value in report["parts"].items())
        watched = "".join(f", {name.replace('_', ' ')} {value:.2f}" for name, value in report["watched"].items())
        left = report["elapsed_seconds"] / report["epoch"] * (report["num_epochs"] - report["epoch"])
        self.line(
            f"{point.label}: generation {report['generation']}, epoch {report['epoch']}/{report['num_epochs']}  "
            f"loss {report['loss']:.3f} (label {report['label']:.3f}, kd {report['kd']:.3f}{parts}){coefficient}{score}"
            f"{watched}  "
            f"{report['examples_per_second']:.0f} examples/s  {left:.0f} s left"
        )
        if self.left.get(point.id, 0) > 0:
            self.left[point.id] -= 1
            self.bar.advance(self.task)

    def ended(self, point: Any, status: str, detail: str) -> None:
        """A point is done: what it did not do is no longer waited for."""
        self.bar.advance(self.task, self.left.pop(point.id, 0))
        self.line(f"{point.label}: {status}, {detail}")
