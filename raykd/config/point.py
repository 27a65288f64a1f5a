"""The sections that make up one point: everything that determines what is trained and how it is scored."""

import math
from typing import Annotated, Literal, Self, get_args

from pydantic import Field, model_validator

from raykd.config.base import Config, Schedule, Source, Weight, never_positive
from raykd.config.parallel import MixingConfig, MultilevelConfig, TeacherConfig, ZeroShotConfig, taken_names
from raykd.config.tagging import ColumnsConfig, HeadConfig
from raykd.config.training import LabelTraining, TrainingConfig

Workers = Annotated[int, Field(ge=1)]
Languages = Annotated[tuple[str, ...], Field(min_length=1)]
Objective = Literal["span_kl", "token", "emission", "top_k", "top_wk", "posterior", "posterior_top_wk", "exact"]


class BaseConfig(Config):
    """Generation 0: the base teacher, shared by all points that agree on this section."""

    model: str = "builtin:tiny"
    """A model folder, a Hub id, a folder in a Python package (`package:NAME/FOLDER`), `RESULTS#POINT` for what a point
    of another sweep delivered (its label, id, method or `best`), or `builtin:tiny`: a small random BERT over the
    built-in world's tokenizer."""
    gguf_file: str | None = None
    """The GGUF file inside `model` to read the weights from."""
    bidirectional: bool = False
    """Read a decoder without its causal mask (`use_bidirectional_attention`)."""
    train: LabelTraining | None = None
    """How to train it on labels; absent means that the model already answers questions."""


class StudentConfig(Config):
    """The first student, where it is not simply generation 0."""

    num_layers: int | None = Field(None, ge=1)
    """Keep so many of the base model's layers, evenly spaced; null keeps them all."""
    model: str | None = None
    """Another model with the same tokenizer to start the student from, named as `base.model` is."""

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if self.num_layers and self.model:
            raise ValueError("num_layers and model exclude each other")
        return self


class DataConfig(Config):
    """The few-shot data, and how it becomes training features."""

    train: Source
    """One file or configuration per language: parallel QA with equal ids, sentences with a tag for each word, or
    English sentences with their translations (`{side}` in a path: a file for each side)."""
    columns: ColumnsConfig = ColumnsConfig()
    mixing: MixingConfig = MixingConfig()
    languages: Languages = ("en", "es", "de", "ar", "vi", "hi", "zh")
    """The languages that training may use; task parallel: those that are paired with English."""
    pivot: str = "en"
    """The language that is in every sample when `english_centric`."""
    num_target_languages: int = Field(3, ge=0)
    """Languages sampled per item beside the pivot. 0: every language, but question and context in the same one."""
    english_centric: bool = True
    """Force the pivot into every sample."""
    budget: Annotated[int, Field(ge=1)] | Literal["all"] = "all"
    """Parallel items (question ids), or sentences or sentence pairs of each language, that a point may train on;
    smaller budgets are contained in larger ones."""
    seed: int | None = None
    """Seed of budget and language draws; null takes the point's seed."""
    max_length: int = Field(384, ge=16)
    """Tokens of a feature at the most."""
    stride: int = Field(128, ge=0)
    """Tokens that neighbouring windows of a long context share."""
    max_question_length: int = Field(64, ge=4)
    """Tokens of a question at the most."""
    no_answer: Literal["drop", "cls"] = "drop"
    """What to do with a window that does not hold the answer: leave it out, or label it with the first token."""
    teacher_view: Literal["same", "q-random", "q-en-diag"] = "same"
    """What the teacher reads: the student's input, or the same context with the question in another language."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if len(set(self.languages)) != len(self.languages):
            raise ValueError("languages holds a language twice")
        return self

    def check_pairs(self) -> None:
        """Refuse what cannot be drawn or cut for question answering.

        Raises:
            ValueError: with what is wrong.
        """
        if self.pivot not in self.languages and self.english_centric:
            raise ValueError(f"data: pivot {self.pivot!r} is not among languages {', '.join(self.languages)}")
        if self.num_target_languages > len(self.languages) - 1:
            raise ValueError(
                f"data: num_target_languages is {self.num_target_languages}; with {len(self.languages)} languages "
                f"it can be 0 to {len(self.languages) - 1}"
            )
        if self.stride + self.max_question_length + 8 >= self.max_length:
            raise ValueError("data: stride + max_question_length leave no room for the context in max_length")


class LineageConfig(Config):
    """The chain of generations."""

    num_generations: int = Field(3, ge=1)
    """Teacher -> student trainings after generation 0."""
    epochs_per_generation: int = Field(1, ge=1)
    """Epochs of each."""
    student_init: Literal["previous", "teacher", "base"] = "previous"
    """Where a student starts: it goes on, optimiser and schedule too; from its teacher; from generation 0."""
    teacher: Literal["snapshot", "best", "ensemble", "fixed"] = "snapshot"
    """The student as the generation began; its best dev epoch so far; all generations' mean logits; generation 0."""
    min_delta: float | None = Field(None, ge=0)
    """Gate: a student becomes teacher only if its dev score rose by so many points; null promotes always."""
    patience: int = Field(1, ge=1)
    """With a gate: stop the lineage after so many generations in a row that were not promoted."""
    keep: Literal["none", "last", "all"] = "last"
    """Whose weights stay on disk when the lineage is done."""
    keep_first_teachers: bool = False
    """Later students learn from generation 0's teachers too, beside the one that `teacher` names."""


class DistillationConfig(Config):
    """How the teacher's knowledge enters the student's loss."""

    objective: Objective | None = None
    """What the KD term compares: qa knows `span_kl`; tagging the others. Null: `span_kl`, for tagging `posterior`."""
    label_weight: Weight = Field(1.0)
    """Weight of the label term (cross-entropy)."""
    kd_weight: Weight = Field(1.0)
    """Weight of the KD term. The label term has its own weight: G-XLT keeps both at 1."""
    kd_share: Annotated[float, Field(ge=0, le=1)] | Schedule | None = None
    """In place of both weights: this for the KD term and the rest to 1 for the label term. Structure-level distillation
    moves it from 1 to 0."""
    temperature: float = Field(2.0, gt=0)
    """Softmax temperature T of teacher and student. The KD term is scaled by T**2."""
    direction: Literal["forward_kl", "reverse_kl", "symmetric_kl"] = "forward_kl"
    """KL(teacher || student), KL(student || teacher), or their sum."""
    coefficient: Literal["constant", "map_at_k", "reciprocal_rank"] = "constant"
    """What multiplies the KD term: 1, the teacher's average precision at k, or 1 / rank of its first hit."""
    k: int = Field(10, ge=1)
    """Rank cutoff of the coefficient; for the objectives top_k and top_wk the number of teacher paths."""
    combine: Literal["mean", "sum"] = "mean"
    """posterior_top_wk: the mean of its two terms, as the paper says, or their sum, as the released code has it."""
    exact_temperature: Literal["local", "global"] = "local"
    """exact: soften the teacher's pair marginals, as the released code does, or its scores."""
    window: Annotated[int, Field(ge=0)] | tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]] = 5
    """Positions around the gold one that count as hits: before and after, or one number for both. Released: [5, 4]."""
    reduce: Literal["example", "batch"] = "example"
    """One coefficient per example and boundary, or one number per batch."""
    reduce_group: int | None = Field(None, ge=1)
    """With `reduce: batch`: so many consecutive examples share a coefficient; null is the whole step."""
    context_only: bool = True
    """Rank context positions only, and compare distributions over them only."""
    signals: Literal["stored", "live"] = "stored"
    """Teacher outputs are computed once and stored, or again in every step."""
    multilevel: MultilevelConfig = MultilevelConfig()

    @model_validator(mode="after")
    def _something_to_learn(self) -> Self:
        if isinstance(self.kd_share, Schedule) and max(self.kd_share.start, self.kd_share.end) > 1:
            raise ValueError("kd_share: a share is at most 1")
        if all(map(never_positive, self.weights)):
            raise ValueError("label_weight and kd_weight are both 0: there is nothing to learn")
        return self

    @property
    def weights(self) -> tuple[Weight, Weight]:
        """Of the label term and of the KD term."""
        share = self.kd_share
        if share is None:
            return self.label_weight, self.kd_weight
        if isinstance(share, Schedule):
            return share.model_copy(update={"start": 1 - share.start, "end": 1 - share.end}), share
        return 1 - share, share

    @property
    def uses_teacher(self) -> bool:
        """Whether the KD term can ever count."""
        return not never_positive(self.weights[1])

    @property
    def window_bounds(self) -> tuple[int, int]:
        """(before, after), both inclusive."""
        return self.window if isinstance(self.window, tuple) else (self.window, self.window)


class EvaluationConfig(Config):
    """The dev set: a cell for each (question language, context language), or for each language of tagged sentences."""

    source: Source
    """QA in SQuAD format, `{question}`/`{context}` for one file per cell or `{language}` for parallel files; for
    tagging one file or configuration per language; for parallel the pairs that are retrieved from each other."""
    selection: Source | None = None
    """What is scored after every epoch, to choose by, in place of a part of `source`."""
    languages: Languages = ("en", "es", "de", "ar", "vi", "hi", "zh")
    """Languages of questions and contexts, or of sentences; those that are not trained on are zero-shot."""
    max_items: int | None = Field(None, ge=1)
    """A fixed sample of so many questions of each cell, or sentences of each language; null scores all."""
    epoch_max_items: int | None = Field(None, ge=0)
    """How many of them are scored after every epoch; 0: none before the end of the lineage, null: as many as then."""
    normalization: Literal["squad", "mlqa"] = "mlqa"
    """How answers are normalised: MLQA's rules for the context's language, or SQuAD's English rules for all."""
    zero_shot: dict[str, ZeroShotConfig] = Field(default_factory=dict)
    """Task parallel: name -> a classification that is scored at the end of the lineage."""
    max_answer_tokens: int = Field(30, ge=1)
    """Longest answer."""
    batch_tokens: int = Field(16384, ge=32)
    """Tokens, padding counted, of one forward pass without gradients; also used for teacher signals."""
    seed: int = 0
    """Seed of the samples. It is not the point's seed: all points are scored on the same questions."""


class ComputeConfig(Config):
    """Where and in which arithmetic a point runs."""

    num_workers: Workers | tuple[Workers, Workers] = 1
    """Training workers; `[2, 8]` trains on as many as the cluster has room for, and goes on with fewer or more when
    nodes go or come."""
    zero_stage: Literal[0, 1, 2, 3] = 0
    """DeepSpeed ZeRO: 0 replicates; 1, 2, 3 shard optimiser, gradients, parameters."""
    offload: Literal["none", "cpu"] = "none"
    """Where optimiser state lives (and, under stage 3, parameters)."""
    precision: Literal["float32", "bf16"] = "float32"
    """Arithmetic of the forward pass: bf16 is autocast over float32 weights."""
    executor: Literal["auto", "inline", "train"] = "auto"
    """inline: in a warm, reused process; train: in a Ray Train worker group; auto: inline for one worker."""
    cpus_per_worker: float | None = Field(None, gt=0)
    """CPUs of one worker; null shares the cluster's CPUs out."""
    gpus_per_worker: float | None = Field(None, ge=0)
    """GPUs of one worker, a fraction lets points share one; null takes one where the cluster has any."""
    checkpoints: bool = True
    """Save optimiser state after every epoch, so that a killed point goes on where it was."""
    checkpoint_seconds: float | None = Field(600.0, ge=0)
    """Save it inside an epoch too, when so many seconds have passed since the last time, 0 for every step; null saves
    after epochs alone. A worker group also saves when it hears that one of its nodes is about to be taken away."""
    max_worker_failures: int = Field(2, ge=0)
    """How often a worker group may start again after one of its workers failed."""
    max_preemptions: int = Field(16, ge=0)
    """How often it may start again because a node was taken away; these do not count as failures."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.min_workers > self.max_workers:
            raise ValueError(f"num_workers is [{self.min_workers}, {self.max_workers}]; the smaller number comes first")
        if self.executor == "inline" and self.max_workers > 1:
            raise ValueError(f"executor inline runs one worker, num_workers is {self.max_workers}")
        if self.offload == "cpu" and self.zero_stage == 0:
            raise ValueError("offload needs zero_stage 1, 2 or 3")
        return self

    @property
    def min_workers(self) -> int:
        """The fewest workers that the point trains on."""
        return self.num_workers if isinstance(self.num_workers, int) else self.num_workers[0]

    @property
    def max_workers(self) -> int:
        """The most workers that the point trains on."""
        return self.num_workers if isinstance(self.num_workers, int) else self.num_workers[1]

    @property
    def resolved_executor(self) -> Literal["inline", "train"]:
        """The executor that `auto` stands for."""
        if self.executor != "auto":
            return self.executor
        return "inline" if self.max_workers == 1 else "train"


class PointConfig(Config):
    """One complete configuration."""

    task: Literal["qa", "tagging", "parallel"] = "qa"
    """What is learned: `qa`, extractive question answering; `tagging`, a label for every word; `parallel`, an encoder
    that means in other languages what its teacher means in English."""
    base: BaseConfig = BaseConfig()
    teacher: TeacherConfig = TeacherConfig()
    head: HeadConfig = HeadConfig()
    student: StudentConfig = StudentConfig()
    data: DataConfig
    lineage: LineageConfig = LineageConfig()
    distillation: DistillationConfig = DistillationConfig()
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig
    compute: ComputeConfig = ComputeConfig()
    seed: int = Field(0, ge=0)
    """Seed of the point: of its data draws, of the order of its data, and of dropout."""

    @model_validator(mode="after")
    def _sections_agree(self) -> Self:
        self._task_fits()
        needs_dev = self.lineage.teacher == "best" or self.lineage.min_delta is not None
        if needs_dev and self.evaluation.epoch_max_items == 0:
            raise ValueError(
                "lineage.teacher best and lineage.min_delta need dev scores: raise evaluation.epoch_max_items"
            )
        if self.data.teacher_view != "same" and not self.distillation.context_only:
            raise ValueError("data.teacher_view q-random and q-en-diag need distillation.context_only: true")
        unstored = self.training.pad_to_max and not self.distillation.context_only
        if unstored and self.distillation.uses_teacher and self.distillation.signals == "stored":
            raise ValueError(
                "training.pad_to_max with distillation.context_only: false compares padding, which is not stored: "
                "set distillation.signals: live"
            )
        if self.student.model and self.lineage.student_init == "teacher":
            raise ValueError("student.model cannot start from its teacher: use lineage.student_init previous or base")
        return self

    def _task_fits(self) -> None:
        {"qa": self._qa_fits, "tagging": self._tagging_fits, "parallel": self._parallel_fits}[self.task]()

    def _qa_fits(self) -> None:
        if self.distillation.objective not in (None, "span_kl"):
            raise ValueError(f"distillation.objective {self.distillation.objective} is not one of task qa: span_kl")
        self.data.check_pairs()

    def _tagging_fits(self) -> None:
        if self.distillation.objective == "span_kl":
            known = ", ".join(name for name in get_args(Objective) if name != "span_kl")
            raise ValueError(f"distillation.objective span_kl is not one of task tagging: {known}")
        if self.head.kind == "softmax" and self.objective not in ("token", "emission", "posterior"):
            raise ValueError(f"distillation.objective {self.objective} needs head.kind crf")
        if self.distillation.signals == "live":
            raise ValueError("distillation.signals live: tagging reads its teachers from stored signals")
        if self.student.num_layers or self.student.model:
            raise ValueError("student: a tagging student starts from base.model; leave the section out")
        if self.training.pad_to_max:
            raise ValueError("training.pad_to_max: tagging never pads to the maximum")

    def _parallel_fits(self) -> None:
        multilevel, pivot = self.distillation.multilevel, self.data.pivot
        if pivot in self.data.languages or pivot in self.evaluation.languages:
            raise ValueError(f"data.languages and evaluation.languages are paired with {pivot}: leave it out of them")
        if self.distillation.uses_teacher and not self.levels:
            raise ValueError("distillation.multilevel: all weights are 0: there is nothing to distil; set kd_weight 0")
        label_weight, kd_weight = self.distillation.weights
        if never_positive(label_weight) and isinstance(kd_weight, Schedule) and 0 in (kd_weight.start, kd_weight.end):
            raise ValueError(
                "distillation: label_weight 0 leaves a step without a loss where kd_weight is 0; begin and end above it"
            )
        if self.lineage.teacher == "ensemble" or self.lineage.keep_first_teachers:
            raise ValueError("lineage: task parallel has one teacher at a time, not an ensemble or kept first teachers")
        if self.evaluation.epoch_max_items == 0:
            raise ValueError("evaluation.epoch_max_items is 0; task parallel watches each epoch for collapse: raise it")
        builtin = self.teacher.model.startswith("builtin:") and not self.base.model.startswith("builtin:")
        if self.distillation.uses_teacher and builtin:
            raise ValueError(
                f"teacher.model is {self.teacher.model}, random weights for the built-in world, and base.model "
                f"{self.base.model}: name an English encoder in teacher.model, or set kd_weight 0"
            )
        if taken := taken_names(self.evaluation.zero_shot, pivot=pivot):
            raise ValueError(f"evaluation.zero_shot: results hold another {', '.join(taken)}; choose other names")
        if {"sentence", "structure"} & self.levels and multilevel.relations == "gathered":
            self._one_micro_batch()

    def _one_micro_batch(self) -> None:
        training, num_workers = self.training, self.compute.min_workers
        if training.examples_per_step:
            # A step is shared out evenly if fewer micro-batches than there are workers hold it.
            at_once = math.ceil(training.examples_per_step / max(num_workers - 1, 1))
            # A single pair is taken whatever its length.
            needed = at_once * self.data.max_length if at_once > 1 else 0
        else:
            needed = training.tokens_per_step
        if training.micro_batch_examples or training.micro_batch_tokens < needed:
            raise ValueError(
                "distillation.multilevel.relations gathered compares all sentences of a step, so each worker takes its "
                f"share at once: training.micro_batch_tokens at least {needed} (it is {training.micro_batch_tokens}), "
                "no micro_batch_examples; or relations: local"
            )

    @property
    def levels(self) -> frozenset[str]:
        """Task parallel: the parts of the KD term that count."""
        weights = self.distillation.multilevel
        if self.task != "parallel" or not self.distillation.uses_teacher:
            return frozenset()
        return frozenset(name for name in ("word", "sentence", "structure") if getattr(weights, f"{name}_weight"))

    @property
    def objective(self) -> str:
        """The objective that null stands for."""
        defaults = {"qa": "span_kl", "tagging": "posterior", "parallel": "multilevel"}
        return self.distillation.objective or defaults[self.task]

    @property
    def data_seed(self) -> int:
        """Seed of budget and language draws."""
        return self.seed if self.data.seed is None else self.data.seed
