"""Loss terms and stored teachers of tagging, against enumeration of all labellings of small sentences."""

import itertools

import numpy as np
import pytest
import torch
from support.enumerated_crf import Case, all_scores, exact, label_table, labellings

from raykd.data.batching import MicroBatch
from raykd.data.examples import Sentence
from raykd.data.tags import label_set
from raykd.models.tagging import TagOutput
from raykd.objectives.chain import Transitions
from raykd.tasks import TASKS
from raykd.tasks.tagging.config import TaggingDistillation
from raykd.tasks.tagging.teachers import StoredTeacher
from raykd.tasks.tagging.terms import best_labels, loss_terms
from raykd.tasks.tagging.windows import build_tag_features
from raykd.tasks.teaching import Reading

CPU = torch.device("cpu")
LABELS = label_set(["X"], "iob2")
WORDS = ("the", "old", "city", "river")
LENGTHS = [3, 1, 4, 2, 3, 1, 4, 2]
LANGUAGES = ["en", "es", "en", "es", "es", "en", "en", "es"]
BATCH = np.array([6, 1, 4, 0, 5])
"""Windows of both languages and of mixed lengths, not in their order."""

OBJECTIVES = [
    {"objective": "emission", "temperature": 2.5},
    {"objective": "token", "temperature": 1.0},
    {"objective": "posterior", "temperature": 2.5},
    {"objective": "top_k", "k": 3},
    {"objective": "top_k", "k": 50},
    {"objective": "top_wk", "k": 3},
    {"objective": "top_wk", "k": 5, "path_temperature": 2.5},
    {"objective": "posterior_top_wk", "k": 3, "temperature": 2.5},
    {"objective": "posterior_top_wk", "k": 3, "temperature": 2.5, "path_temperature": 2.0, "combine": "sum"},
    {"objective": "exact", "temperature": 1.0},
    {"objective": "exact", "temperature": 2.5},
    {"objective": "exact", "temperature": 2.5, "exact_temperature": "global"},
]
each_objective = pytest.mark.parametrize(
    "options", OBJECTIVES, ids=lambda options: "-".join(map(str, options.values())).replace(".", "_")
)


@pytest.fixture(scope="module")
def features(wordpiece):
    tags = itertools.cycle(["O", "B-X", "I-X", "B-X", "O"])
    sentences = [
        Sentence(f"{language}-{number}", language, WORDS[:length], tuple(itertools.islice(tags, length)))
        for number, (language, length) in enumerate(zip(LANGUAGES, LENGTHS, strict=True))
    ]
    return build_tag_features(sentences, wordpiece, languages=("en", "es"), labels=LABELS, scheme="iob2", max_length=32)


def scores(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 1.5


def transitions(seed: int) -> Transitions:
    size = len(LABELS)
    return Transitions(scores(seed, size, size), scores(seed + 1, size), scores(seed + 2, size))


class Teacher:
    """Emissions of every window in half precision, whether it teaches them or not, and transitions."""

    def __init__(self, seed: int, *, softmax: bool = False) -> None:
        self.emissions = [scores(seed + row, length, len(LABELS)).half() for row, length in enumerate(LENGTHS)]
        self.transitions = Transitions(*(part * 0 for part in transitions(seed))) if softmax else transitions(seed)
        self.constants = {} if softmax else self.transitions._asdict()

    def reading(self, rows) -> Reading:
        arrays = {"emissions": torch.cat([self.emissions[row] for row in rows])}
        return Reading(np.asarray(rows), arrays, self.constants)

    def case(self, row: int) -> Case:
        emissions = self.emissions[row].float().unsqueeze(0)
        return Case(emissions, torch.ones(emissions.shape[:2], dtype=torch.bool), self.transitions)


ENGLISH, SPANISH, BOTH = Teacher(100), Teacher(200), Teacher(300)
ROWS = {language: [row for row, each in enumerate(LANGUAGES) if each == language] for language in ("en", "es")}
READINGS = {
    "each its own": [ENGLISH.reading(ROWS["en"]), SPANISH.reading(ROWS["es"])],
    "one of two and one of all": [
        BOTH.reading(range(8)),
        SPANISH.reading(ROWS["es"][::-1]),
        ENGLISH.reading(ROWS["en"]),
    ],
    "one of all and one of some": [BOTH.reading([4, 7, 1, 0, 2, 3, 6, 5]), SPANISH.reading(ROWS["es"])],
    # One reading whose sentences are the first of some and the second of others.
    "one of some and one of all": [SPANISH.reading(ROWS["es"]), BOTH.reading([4, 7, 1, 0, 2, 3, 6, 5])],
    "one of some": [SPANISH.reading(ROWS["es"])],
}
TEACHERS = {
    "each its own": lambda language: {"en": [ENGLISH], "es": [SPANISH]}[language],
    "one of two and one of all": lambda language: {"en": [BOTH, ENGLISH], "es": [BOTH, SPANISH]}[language],
    "one of all and one of some": lambda language: {"en": [BOTH], "es": [BOTH, SPANISH]}[language],
    "one of some and one of all": lambda language: {"en": [BOTH], "es": [SPANISH, BOTH]}[language],
    "one of some": lambda language: {"en": [], "es": [SPANISH]}[language],
}
each_team = pytest.mark.parametrize("team", READINGS)


class Student:
    """Scores for a batch; what is no word is NaN, so that whoever looks at it is found out."""

    def __init__(self, features, indices, *, softmax: bool = False) -> None:
        self.batch = features.collate(indices)
        mask = self.batch["word_mask"]
        emissions = torch.full((*mask.shape, len(LABELS)), torch.nan)
        for place, row in enumerate(indices.tolist()):
            emissions[place, : LENGTHS[row]] = scores(400 + row, LENGTHS[row], len(LABELS))
        own = transitions(500)
        self.emissions = emissions.requires_grad_()
        self.own = Transitions(*(part * 0 for part in own)) if softmax else own
        self.outputs = TagOutput(self.emissions) if softmax else TagOutput(self.emissions, *self.own)

    def case(self, place: int) -> Case:
        return Case(self.emissions.detach(), self.batch["word_mask"], self.own).sentence(place)


def softened_kl(teacher: torch.Tensor, student: torch.Tensor, temperature: float) -> float:
    teacher, student = ((part.double() / temperature).log_softmax(dim=-1) for part in (teacher, student))
    return float((teacher.exp() * (teacher - student)).sum()) * temperature**2


def paths_term(student: Case, teacher: Case, k: int, temperature: float | None) -> float:
    log_p = all_scores(student, 0).log_softmax(dim=0)
    best, paths = all_scores(teacher, 0).topk(min(k, len(log_p)))
    weights = torch.ones_like(best) / len(best) if temperature is None else (best / temperature).softmax(dim=0)
    return float(-(weights * log_p[paths]).sum())


def by_enumeration(student: Case, teacher: Case, config: TaggingDistillation) -> float:
    """The KD term of one sentence and one teacher."""
    temperature, objective = config.temperature, config.objective or "posterior"
    posterior = softened_kl(label_table(teacher, 0), label_table(student, 0), temperature)
    match objective:
        case "emission" | "token":
            return softened_kl(teacher.emissions[0], student.emissions[0], temperature)
        case "posterior":
            return posterior
        case "top_k":
            return paths_term(student, teacher, config.k, None)
        case "top_wk":
            return paths_term(student, teacher, config.k, config.path_temperature)
        case "posterior_top_wk":
            total = posterior + paths_term(student, teacher, config.k, config.path_temperature)
            return total / 2 if config.combine == "mean" else total
        case "exact" if config.exact_temperature == "global" or temperature == 1:
            return softened_kl(all_scores(teacher, 0), all_scores(student, 0), temperature)
        case "exact":
            return float(exact(student, teacher, temperature=temperature, softening="local"))


def kd_terms(features, team: str, indices, config: TaggingDistillation, **options) -> torch.Tensor:
    student = Student(features, indices, **options)
    teacher = StoredTeacher(features, READINGS[team], config, device=CPU)
    (slots,) = teacher.for_step(indices, [MicroBatch(indices, False)])
    _, term = loss_terms(student.outputs, student.batch, slots, config)
    return term


# Terms ------------------------------------------------------------------------------------------------------------


@each_objective
@each_team
def test_the_kd_term_of_every_sentence_is_the_mean_over_its_teachers_by_enumeration(features, options, team):
    config = TaggingDistillation(**options)
    student, found = Student(features, BATCH), kd_terms(features, team, BATCH, config)
    for place, row in enumerate(BATCH):
        teachers = TEACHERS[team](LANGUAGES[row])
        each = [by_enumeration(student.case(place), teacher.case(row), config) for teacher in teachers]
        assert found[place].item() == pytest.approx(np.mean(each) if each else 0, rel=1e-4, abs=1e-4)


@each_objective
def test_a_sentence_costs_the_same_in_a_batch_and_alone(features, options):
    config = TaggingDistillation(**options)
    alone = [kd_terms(features, "each its own", np.array([row]), config) for row in BATCH]
    torch.testing.assert_close(kd_terms(features, "each its own", BATCH, config), torch.cat(alone))


@each_objective
def test_the_kd_term_pulls_at_words_alone(features, options):
    student, config = Student(features, BATCH), TaggingDistillation(**options)
    teacher = StoredTeacher(features, READINGS["each its own"], config, device=CPU)
    (slots,) = teacher.for_step(BATCH, [MicroBatch(BATCH, False)])
    loss_terms(student.outputs, student.batch, slots, config)[1].sum().backward()
    mask = student.batch["word_mask"]
    assert student.emissions.grad[mask].abs().sum() > 0
    assert (student.emissions.grad[~mask] == 0).all()


def test_the_label_term_is_minus_log_p_of_the_gold_labelling(features):
    student = Student(features, BATCH)
    expected = []
    for place, row in enumerate(BATCH):
        gold = student.batch["tags"][place, : LENGTHS[row]]
        number = (labellings(LENGTHS[row], len(LABELS)) == gold).all(dim=1).nonzero().item()
        expected.append(-all_scores(student.case(place), 0).log_softmax(dim=0)[number])
    for options in OBJECTIVES:  # whatever it shares with the KD term
        config = TaggingDistillation(**options)
        teacher = StoredTeacher(features, READINGS["each its own"], config, device=CPU)
        for slots in (None, *teacher.for_step(BATCH, [MicroBatch(BATCH, False)])):
            label, term = loss_terms(student.outputs, student.batch, slots, config)
            torch.testing.assert_close(label.double(), torch.stack(expected), rtol=1e-5, atol=1e-5)
            assert (term is None) == (slots is None)


@pytest.mark.parametrize("objective", ["token", "emission", "posterior"])
def test_a_softmax_head_is_compared_word_by_word(features, objective):
    config = TaggingDistillation(objective=objective, temperature=3.0)
    rows, softmax = np.arange(8), Teacher(600, softmax=True)
    student = Student(features, rows, softmax=True)
    teacher = StoredTeacher(features, [softmax.reading(rows)], config, device=CPU)
    (slots,) = teacher.for_step(rows, [MicroBatch(rows, False)])
    label, term = loss_terms(student.outputs, student.batch, slots, config)
    for row in rows:
        emissions, gold = student.emissions[row, : LENGTHS[row]].detach(), student.batch["tags"][row, : LENGTHS[row]]
        assert label[row].item() == pytest.approx(-emissions.log_softmax(dim=-1).gather(1, gold[:, None]).sum().item())
        assert term[row].item() == pytest.approx(softened_kl(softmax.emissions[row], emissions, 3.0), rel=1e-4)


def test_an_objective_of_another_task_is_refused(features):
    student, config = Student(features, BATCH), TaggingDistillation().model_copy(update={"objective": "span_kl"})
    teacher = StoredTeacher(features, READINGS["each its own"], config, device=CPU)
    (slots,) = teacher.for_step(BATCH, [MicroBatch(BATCH, False)])
    with pytest.raises(ValueError, match="objective: got 'span_kl'"):
        loss_terms(student.outputs, student.batch, slots, config)


# Teachers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", itertools.permutations(range(2)))
@pytest.mark.parametrize("seed", [0, 1])
def test_each_sentence_reads_its_own_teacher_in_whatever_order_signals_come(features, order, seed):
    generator = np.random.default_rng(seed)
    readings = [ENGLISH.reading(generator.permutation(ROWS["en"])), SPANISH.reading(generator.permutation(ROWS["es"]))]
    teacher = StoredTeacher(features, [readings[each] for each in order], TaggingDistillation(), device=CPU)
    ((slot,),) = teacher.for_step(BATCH, [MicroBatch(BATCH, False)])
    for place, row in enumerate(BATCH):
        own = {"en": ENGLISH, "es": SPANISH}[LANGUAGES[row]]
        assert torch.equal(slot.emissions[place, : LENGTHS[row]], own.emissions[row].float())
        for name, values in own.transitions._asdict().items():
            assert torch.equal(getattr(slot.transitions, name)[place], values)
    assert slot.weight.tolist() == [1.0] * len(BATCH)


def test_sentences_with_fewer_teachers_leave_slots_empty(features):
    config = TaggingDistillation()
    teacher = StoredTeacher(features, READINGS["one of all and one of some"], config, device=CPU)
    (slots,) = teacher.for_step(BATCH, [MicroBatch(BATCH, False)])
    spanish = [LANGUAGES[row] == "es" for row in BATCH]
    assert slots[0].weight.tolist() == [0.5 if each else 1.0 for each in spanish]
    assert slots[1].weight.tolist() == [0.5 if each else 0.0 for each in spanish]


@pytest.mark.parametrize("words_at_once", [1, 5, 1000])
def test_marginals_and_paths_are_those_of_each_sentence(features, monkeypatch, words_at_once):
    monkeypatch.setattr("raykd.tasks.tagging.teachers._WORDS_AT_ONCE", words_at_once)
    config, rows = TaggingDistillation(objective="posterior_top_wk", k=4), np.arange(8)
    teacher = StoredTeacher(features, READINGS["each its own"], config, device=CPU)
    ((slot,),) = teacher.for_step(rows, [MicroBatch(rows, False)])
    for row in rows:
        case, length = {"en": ENGLISH, "es": SPANISH}[LANGUAGES[row]].case(row), LENGTHS[row]
        torch.testing.assert_close(slot.log_marginals[row, :length].double(), label_table(case, 0), atol=1e-5, rtol=0)
        best, order = all_scores(case, 0).topk(min(4, len(LABELS) ** length))
        assert torch.equal(slot.best.paths[row, : len(best), :length], labellings(length, len(LABELS))[order])
        torch.testing.assert_close(slot.best.scores[row, : len(best)].double(), best, atol=1e-5, rtol=0)
        assert slot.best.valid[row].tolist() == [True] * len(best) + [False] * (4 - len(best))
        assert (slot.best.paths[row, :, length:] == 0).all()


@pytest.mark.parametrize(
    ("objective", "has_marginals", "has_paths"),
    [("emission", False, False), ("exact", False, False), ("posterior", True, False), ("top_k", False, True)],
)
def test_only_what_the_objective_reads_is_derived(features, objective, has_marginals, has_paths):
    config = TaggingDistillation(objective=objective)
    teacher = StoredTeacher(features, READINGS["each its own"], config, device=CPU)
    assert (teacher.log_marginals is not None, teacher.paths is not None) == (has_marginals, has_paths)


def test_signals_stay_in_half_precision_and_are_read_in_full(features):
    config = TaggingDistillation(objective="emission")
    teacher = StoredTeacher(features, READINGS["one of two and one of all"], config, device=CPU)
    assert TASKS["tagging"].learning.stored_dtype == torch.float16
    assert {values.dtype for values in teacher.emissions} == {torch.float16}
    (slots,) = teacher.for_step(BATCH, [MicroBatch(BATCH, False)])
    assert {slot.emissions.dtype for slot in slots} == {torch.float32}


def test_micro_batches_get_their_own_part_of_a_step(features):
    config, micros = TaggingDistillation(), [MicroBatch(BATCH[:2], False), MicroBatch(BATCH[2:], False)]
    teacher = StoredTeacher(features, READINGS["each its own"], config, device=CPU)
    parts = teacher.for_step(BATCH, micros)
    assert [list(slot.emissions.shape[:2]) for (slot,) in parts] == [[2, 4], [3, 3]]
    assert torch.equal(parts[1][0].emissions[1], ENGLISH.emissions[0].float())
    assert teacher.mean_coefficient() is None


# Decoding ---------------------------------------------------------------------------------------------------------


def test_the_best_labels_of_a_crf_are_those_of_the_best_path(features):
    student = Student(features, BATCH)
    for place, (window, found) in enumerate(best_labels(student.outputs, student.batch, BATCH)):
        paths = labellings(LENGTHS[window], len(LABELS))
        assert window == BATCH[place]
        assert found == paths[all_scores(student.case(place), 0).argmax()].tolist()


def test_the_best_labels_of_a_softmax_head_are_those_of_each_word(features):
    student = Student(features, BATCH, softmax=True)
    for place, (window, found) in enumerate(best_labels(student.outputs, student.batch, BATCH)):
        assert found == student.emissions[place, : LENGTHS[window]].argmax(dim=-1).tolist()
