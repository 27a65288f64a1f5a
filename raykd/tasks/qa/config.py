"""The sections and keys of task `qa`."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from raykd.config.base import Config, Source
from raykd.config.digest import digest, dump
from raykd.config.influence import NO_INFLUENCE, Influence
from raykd.config.point import BaseConfig, DataConfig, DistillationConfig, PointBase, StudentConfig
from raykd.config.scored import ScoredConfig, SelectionConfig
from raykd.config.training import BUDGET, Batching, Budget, LabelTraining
from raykd.config.unlabelled import UnlabelledConfig, UnlabelledKeys

Bound = Annotated[int, Field(ge=0)]


def _teaches(point: Any) -> bool:
    return point.distillation.uses_teacher


def _weighs(point: Any) -> bool:
    return _teaches(point) and point.distillation.coefficient != "constant"


class QaPadding(Config):
    """How batches are padded."""

    pad_to_max: bool = False
    """Pad every feature to `data.max_length`, as the released code does."""


class QaTraining(QaPadding, Batching):
    """How students are trained."""

    @property
    def pads_to_max(self) -> bool:
        return self.pad_to_max


class QaLabelTraining(QaPadding, LabelTraining):
    """Training of generation 0 on labels alone."""

    source: Source | Budget
    """Labelled data in SQuAD format, in one language. Or `budget`: the labelled pairs of the point, which is the honest
    choice where labels are few."""
    language: str = "en"
    """The language of that data; of no meaning with `budget`."""

    @property
    def pads_to_max(self) -> bool:
        return self.pad_to_max


class QaBase(BaseConfig):
    """Generation 0: the base teacher, shared by all points that agree on this section."""

    gguf_file: str | None = None
    """The GGUF file inside `model` to read the weights from."""
    bidirectional: bool = False
    """Read a decoder without its causal mask (`use_bidirectional_attention`)."""
    train: QaLabelTraining | None = None
    """How to train it on labels; absent means that the model already answers questions."""


class QaData(UnlabelledKeys, DataConfig):
    """The few-shot data, and how it becomes training features."""

    train: Source
    """Parallel QA: one file or configuration for each language, with equal ids."""
    budget: Annotated[int, Field(ge=1)] | Literal["all"] = "all"
    """Parallel items (question ids) that a point may train on; larger budgets contain smaller ones."""
    pivot: str = "en"
    """The language that is in every sample when `english_centric`."""
    num_target_languages: int = Field(3, ge=0)
    """Languages sampled per item beside the pivot. 0: every language, but question and context in the same one."""
    english_centric: bool = True
    """Force the pivot into every sample."""
    stride: int = Field(128, ge=0)
    """Tokens that neighbouring windows of a long context share."""
    max_question_length: int = Field(64, ge=4)
    """Tokens of a question at the most."""
    no_answer: Literal["drop", "cls"] = "drop"
    """What to do with a window that does not hold the answer: leave it out, or label it with the first token. `cls`
    also trains on questions without an answer; `drop` refuses them."""

    @property
    def answers(self) -> Literal["each", "some"]:
        """Which questions of training data need an answer."""
        return "some" if self.no_answer == "cls" else "each"

    teacher_view: Annotated[Literal["same", "q-random", "q-en-diag"], Influence(when=_teaches)] = "same"
    """What the teacher reads: the student's input, or the same context with the question in another language."""


class QaDistillation(DistillationConfig):
    """How the teacher's knowledge enters the student's loss."""

    objective: Annotated[Literal["span_kl"], Influence(when=_teaches)] = "span_kl"
    """What the KD term compares: distributions over start and end."""
    temperature: Annotated[float, Influence(when=_teaches)] = Field(2.0, gt=0)
    """Softmax temperature T of teacher and student. The KD term is scaled by T**2."""
    direction: Annotated[Literal["forward_kl", "reverse_kl", "symmetric_kl"], Influence(when=_teaches)] = "forward_kl"
    """KL(teacher || student), KL(student || teacher), or their sum."""
    coefficient: Annotated[Literal["constant", "map_at_k", "reciprocal_rank"], Influence(when=_teaches)] = "constant"
    """What multiplies the KD term: 1, 1 / rank of the teacher's first hit, or its average precision at k, which is
    small even for a teacher that is right."""
    k: Annotated[int, Influence(when=_weighs)] = Field(10, ge=1)
    """Rank cutoff of the coefficient."""
    window: Annotated[
        Bound | tuple[Bound, Bound],
        Influence(when=_weighs, value=lambda point: list(point.distillation.window_bounds)),
    ] = 5
    """Positions around the gold one that count as hits: before and after, or one number for both. Released: [5, 4]."""
    reduce: Annotated[Literal["example", "batch"], Influence(when=_weighs)] = "example"
    """One coefficient per example and boundary, or one number per batch."""
    reduce_group: Annotated[
        int | None, Influence(when=lambda point: _weighs(point) and point.distillation.reduce == "batch")
    ] = Field(None, ge=1)
    """With `reduce: batch`: so many consecutive examples share a coefficient; null is the whole step."""
    context_only: Annotated[bool, Influence(when=_teaches)] = True
    """Rank context positions only, and compare distributions over them only."""
    signals: Annotated[Literal["stored", "live"], Influence(when=_teaches)] = "stored"
    """Teacher outputs are computed once and stored, or again in every step."""

    @property
    def reads_live(self) -> bool:
        return self.signals == "live"

    @property
    def window_bounds(self) -> tuple[int, int]:
        """(before, after), both inclusive."""
        return self.window if isinstance(self.window, tuple) else (self.window, self.window)


class QaScored(ScoredConfig):
    """A set that models are scored on: a cell for each (question language, context language)."""

    source: Source
    """QA in SQuAD format, `{question}`/`{context}` for one file per cell or `{language}` for parallel files."""
    normalization: Literal["squad", "mlqa"] = "mlqa"
    """How answers are normalised: MLQA's rules for the context's language, or SQuAD's English rules for all."""
    max_answer_tokens: int = Field(30, ge=1)
    """Longest answer."""
    whole_words: bool = False
    """Answers begin and end at the edges of words alone, so that no word is cut in pieces. In scripts without spaces
    they may begin and end anywhere."""
    oracle_k: int = Field(0, ge=0)
    """Also report, for each question language, the F1 that the best of so many different answers would have, for every
    number up to this one: what a teacher knows where its first answer is wrong. 0: not."""
    unanswerable: bool = False
    """Questions may have no answer, as in SQuAD 2.0. None is given where the score of the first token is above that of
    the best span by more than a threshold, which the selection set chooses."""
    null_threshold: float | None = None
    """With `unanswerable`: this threshold. Null: the selection set takes the one with the best score, and test sets
    take that of the selection set."""

    @model_validator(mode="after")
    def _threshold_of_something(self) -> Self:
        if self.null_threshold is not None and not self.unanswerable:
            raise ValueError("null_threshold needs unanswerable: true")
        return self


class QaSelection(QaScored, SelectionConfig):
    """The selection set: epochs, generations, points and configurations are chosen by their scores on it."""


class QaPoint(PointBase):
    """One complete configuration of task `qa`: extractive question answering across languages."""

    task: Literal["qa"] = "qa"
    """Extractive question answering."""
    base: QaBase = QaBase()
    teachers: Annotated[tuple[str, ...], Influence(when=_teaches)] = ()
    """Models that answer questions, to teach generation 1 together in place of generation 0."""
    student: StudentConfig = StudentConfig()
    data: QaData
    distillation: QaDistillation = QaDistillation()
    training: QaTraining = QaTraining()
    selection: QaSelection
    tests: Annotated[Mapping[str, QaScored], NO_INFLUENCE] = Field(default_factory=dict)
    """Name -> a test set: what a point delivers is scored on it once. Nothing is ever chosen by it."""

    @model_validator(mode="after")
    def _qa_fits(self) -> Self:
        data = self.data
        if data.pivot not in data.languages and data.english_centric:
            raise ValueError(f"data: pivot {data.pivot!r} is not among languages {', '.join(data.languages)}")
        if data.num_target_languages > len(data.languages) - 1:
            raise ValueError(
                f"data: num_target_languages is {data.num_target_languages}; with {len(data.languages)} languages "
                f"it can be 0 to {len(data.languages) - 1}"
            )
        if data.stride + data.max_question_length + 8 >= data.max_length:
            raise ValueError("data: stride + max_question_length leave no room for the context; raise max_length")
        if data.teacher_view != "same" and not self.distillation.context_only:
            raise ValueError("data.teacher_view q-random and q-en-diag need distillation.context_only: true")
        if self.unlabelled is not None and self.distillation.reads_live:
            raise ValueError("data.unlabelled needs stored signals: set distillation.signals: stored")
        for name, test in self.tests.items():
            if test.unanswerable and test.null_threshold is None and not self.selection.unanswerable:
                raise ValueError(
                    f"tests.{name}.unanswerable: the selection set has no threshold for it: set "
                    f"selection.unanswerable: true, or tests.{name}.null_threshold"
                )
        if self.training.pad_to_max and not self.distillation.context_only and self.stores_signals:
            raise ValueError(
                "training.pad_to_max with distillation.context_only: false compares padding, which signals lack: "
                "set distillation.signals: live"
            )
        return self

    @property
    def label_training(self) -> LabelTraining | None:
        return self.base.train

    @property
    def unlabelled(self) -> UnlabelledConfig | None:
        return self.data.unlabelled if self.distillation.uses_teacher else None

    @property
    def read_unlabelled(self) -> UnlabelledConfig | None:
        needed = self.distillation.uses_teacher or self.student.vocabulary is not None
        return self.data.unlabelled if needed else None

    @property
    def unlabelled_per_labelled(self) -> float | None:
        return self.data.unlabelled_per_labelled

    @property
    def labelled_languages(self) -> tuple[str, ...]:
        if self.base.train is None:
            return ()
        return self.data.languages if self.base.train.source == BUDGET else (self.base.train.language,)

    @property
    def window_options(self) -> dict[str, int]:
        data = self.data
        return {"max_length": data.max_length, "stride": data.stride, "max_question_length": data.max_question_length}

    @property
    def examples_per_item(self) -> int:
        data, num_languages = self.data, len(self.data.languages)
        if data.num_target_languages == 0:
            return num_languages
        return min(data.num_target_languages + data.english_centric, num_languages) ** 2

    def score_recipe(self, scored: ScoredConfig) -> dict[str, Any]:
        found = super().score_recipe(scored)
        asks = isinstance(scored, QaScored) and scored.unanswerable and scored.null_threshold is None
        if asks and not isinstance(scored, QaSelection):
            found["chosen_by"] = super().score_recipe(self.selection_set)
        return found

    def given_teachers(self, base: str) -> Mapping[str, str]:
        named = self.teachers if self.distillation.uses_teacher else ()
        return {digest({"task": self.task, "teacher": name}): name for name in named}

    def first_teachers(self, base: str) -> Mapping[str, str | None]:
        return dict.fromkeys(self.given_teachers(base)) or {base: None}

    def generation_zero(self, base: str) -> Mapping[str, str | None]:
        return {base: None}

    def signal_options(self) -> dict[str, Any]:
        data = self.data
        # The teacher's question is drawn from the languages that an item is asked in, and these are drawn too.
        draw = [self.data_seed, data.num_target_languages, data.english_centric, data.pivot]
        return {**super().signal_options(), "view": [data.teacher_view, draw if data.teacher_view != "same" else None]}

    def budget_recipe(self) -> dict[str, Any]:
        names = ("train", "languages", "budget", "pivot", "num_target_languages", "english_centric", "no_answer")
        return {"data": {name: dump(self.data)[name] for name in names}, "seed": self.data_seed}

    def base_recipe(self) -> dict[str, Any]:
        found = super().base_recipe()
        if self.base.train:
            found["data"] = {**self.window_options, "no_answer": self.data.no_answer}
            found["precision"] = self.compute.precision
            if self.base.train.source == BUDGET:
                found["budget"] = self.budget_recipe()
            found |= self.teacher_choice_recipe()
        return found


PRESETS: Mapping[str, Mapping[str, Any]] = {
    # The released G-XLT code (arXiv:2309.17134), stage 2: what run_squad_w_distillation.py and its scripts do.
    "legacy": {
        "data": {
            "languages": ["en", "es", "de", "ar", "vi", "hi", "zh"],
            "pivot": "en",
            "english_centric": True,
            "max_length": 384,
            # The released 128 is the step between windows of 381 - q tokens of context, q the question's length, so
            # its overlap, 253 - q, differs from question to question. One overlap for all cannot express that.
            "stride": 192,
            "max_question_length": 64,
            "no_answer": "cls",
            "teacher_view": "same",
        },
        "lineage": {
            "num_generations": 3,
            "epochs_per_generation": 1,
            "student_init": "previous",
            "teacher": "snapshot",
            "deliver": "last",
        },
        "distillation": {
            "label_weight": 1.0,
            "kd_weight": 1.0,
            "temperature": 2.0,
            "direction": "forward_kl",
            "coefficient": "reciprocal_rank",  # what the released mAP@k amounts to
            "k": 10,
            "window": [5, 4],
            "reduce": "batch",
            "reduce_group": 6,  # one coefficient for each micro-batch
            "context_only": False,
            "signals": "live",
        },
        "training": {
            "learning_rate": 5e-5,
            "lr_schedule": "linear",
            "warmup": 0.0,
            "weight_decay": 0.0,
            "optimizer": "adamw_legacy",
            "adam_epsilon": 1e-8,
            "max_grad_norm": 1.0,
            "tokens_per_step": None,
            "examples_per_step": 24,
            "micro_batch_examples": 6,
            "pad_to_max": True,
        },
        "selection": {"normalization": "mlqa", "max_answer_tokens": 30},
        "compute": {"precision": "float32"},
        "seed": 3,
    },
}
"""Named sets of defaults. A sweep file takes one with `preset`, and its own keys win over it."""
