"""What a point trains on, epoch by epoch."""

from collections.abc import Sequence

import numpy as np

from raykd.config.unlabelled import num_unlabelled
from raykd.data.batching import draw_unlabelled, order_epoch, widths
from raykd.tasks import task_of
from raykd.worker.checkpoints import Position
from raykd.worker.context import WorkerContext
from raykd.worker.job import PointJob
from raykd.worker.loop import EpochData, Timeline
from raykd.worker.training import refuse_nan


class EpochPlan:
    """The epochs of a point's lineage: data, steps, and where each epoch lies. Equal on all ranks.

    Attributes:
        train: the windows of the point.
        num_labelled: the first so many of these have labels.
        num_unlabelled: of the others so many are read in an epoch.
        steps: of every epoch of the lineage, arrays of window indices.
        pad_to: tokens that every window is padded to; None pads to the longest of a batch.
    """

    def __init__(self, context: WorkerContext, job: PointJob) -> None:
        config = job.point.config
        self.task, self.lineage, self.seed = task_of(config), config.lineage, config.seed
        self.train = context.train_set(job.point)
        self.lengths = widths(self.train.features.lengths, config.training, max_length=config.data.max_length)
        self.num_labelled = self.task.learning.num_labelled(self.train)
        ratio = config.unlabelled_per_labelled
        self.num_unlabelled = num_unlabelled(self.num_labelled, len(self.lengths) - self.num_labelled, ratio)
        self.steps: list[list[np.ndarray]] = [
            order_epoch(
                self.lengths,
                config.training,
                seed=config.seed,
                epoch=epoch,
                chosen=self._chosen(epoch),
                num_labelled=self.num_labelled if self.num_unlabelled else None,
            )
            for epoch in range(config.num_epochs)
        ]
        self.pad_to = config.data.max_length if config.training.pads_to_max else None

    def __len__(self) -> int:
        return len(self.steps)

    def _chosen(self, epoch: int) -> np.ndarray | None:
        """The windows of an epoch: the labelled ones, and the share of the others that is due."""
        if not self.num_unlabelled:
            return self.task.learning.chosen(self.train, epoch)
        there = len(self.lengths) - self.num_labelled
        drawn = draw_unlabelled(there, per_epoch=self.num_unlabelled, seed=self.seed, epoch=epoch)
        return np.concatenate([np.arange(self.num_labelled), self.num_labelled + drawn])

    def _label_scale(self) -> np.ndarray | None:
        """[N] what the label term of each window is multiplied by; None is 1.

        A step's label term is the mean over its labelled windows, so its weight means the same however many others
        there are.
        """
        if not self.num_unlabelled:
            return None
        scale = np.zeros(len(self.lengths), dtype=np.float32)
        scale[: self.num_labelled] = (self.num_labelled + self.num_unlabelled) / self.num_labelled
        return scale

    def data(self, epoch: int) -> EpochData:
        """What an epoch, counted from 0 over the lineage, trains on."""
        steps = self.steps[epoch]
        features = self.task.learning.of_epoch(self.train, steps, seed=self.seed, epoch=epoch)
        return EpochData(steps, features, self.lengths, self._label_scale())

    def timeline(self, epoch: int) -> Timeline:
        """Where an epoch lies. A student that goes on through generations has one schedule, others one each."""
        counts, per_generation = [len(steps) for steps in self.steps], self.lineage.epochs_per_generation
        first = epoch // per_generation * per_generation
        start, steps = sum(counts[:first]), sum(counts[first : first + per_generation])
        goes_on = self.lineage.student_init == "previous"
        return Timeline(
            first_step=sum(counts[:epoch]),
            total_steps=sum(counts),
            schedule_start=0 if goes_on else start,
            schedule_steps=sum(counts) if goes_on else steps,
            generation_start=start,
            generation_steps=steps,
        )

    def refuse_nan(self, losses: Sequence[Sequence[float]], at: Position) -> None:
        """Refuse the losses of the epoch after a position once they left the numbers.

        Raises:
            TrainingError: naming the first bad step and what was in it.
        """
        where = f"generation {at.generation}, epoch {at.generation_epochs + 1}"
        refuse_nan(losses, where, steps=self.steps[at.epochs], ids=self.train.features.ids)
