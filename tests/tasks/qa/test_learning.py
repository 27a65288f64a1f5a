import dataclasses
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForQuestionAnswering

from raykd.data import smallworld
from raykd.data.batching import MicroBatch
from raykd.data.examples import Answer, QAExample
from raykd.tasks.form import plain_inputs as model_inputs
from raykd.tasks.qa.answers import best_answers, cells_to_json, score_answers, spans_of
from raykd.tasks.qa.config import QaDistillation
from raykd.tasks.qa.features import build_features, with_questions
from raykd.tasks.qa.scoring import score_cell
from raykd.tasks.qa.teachers import ABSENT, LiveTeacher, StoredTeacher, align_signals
from raykd.tasks.qa.terms import TeacherSignals, confidence, kd_term, label_term, positions, reduced

CPU = torch.device("cpu")
OPTIONS = {"max_length": 48, "stride": 8, "max_question_length": 24}
STEP = np.array([5, 0, 8, 3, 11, 7, 2])
MICROS = [MicroBatch(STEP[:3], False), MicroBatch(STEP[3:5], False), MicroBatch(STEP[5:], False)]

CONFIDENCE = [
    {},
    {"coefficient": "map_at_k"},
    {"coefficient": "reciprocal_rank", "window": 0, "k": 100},
    {"coefficient": "map_at_k", "reduce": "batch"},
    {"coefficient": "reciprocal_rank", "reduce": "batch", "reduce_group": 2},
    {"coefficient": "map_at_k", "window": (5, 4), "reduce": "batch", "reduce_group": 3, "context_only": False},
    {"coefficient": "map_at_k", "context_only": False},
]


def each_of(confidences: list[dict]):
    names = ["-".join(map(str, options.values())) or "constant" for options in confidences]
    return pytest.mark.parametrize("options", confidences, ids=names)


@pytest.fixture(scope="module")
def features(small_world_tokenizer):
    """Windows of different lengths in three languages, two of them to some examples."""
    items = smallworld.parallel_items("train", 6, languages=("en", "ar", "zh"))
    examples = [example for item in items.values() for example in item.values()]
    return build_features(examples, small_world_tokenizer, no_answer="cls", **OPTIONS)


@pytest.fixture(scope="module")
def model(small_world_tokenizer):
    """A random teacher whose logits differ widely enough to rank positions."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(small_world_tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=96,
        initializer_range=0.5,
    )
    return BertForQuestionAnswering(config).eval()


@torch.no_grad()
def signals_of(model, features) -> dict[str, torch.Tensor]:
    """Each window forwarded alone, end to end."""
    outputs = [model(**model_inputs(features.collate(np.array([row])))) for row in range(len(features))]
    return {
        "start": torch.cat([each.start_logits[0] for each in outputs]),
        "end": torch.cat([each.end_logits[0] for each in outputs]),
    }


@pytest.fixture(scope="module")
def signals(model, features):
    return signals_of(model, features)


def outputs_like(start: torch.Tensor, end: torch.Tensor) -> SimpleNamespace:
    return SimpleNamespace(start_logits=start, end_logits=end)


# Terms of the loss ------------------------------------------------------------------------------------------------


def test_the_label_term_is_the_loss_of_transformers(model, features):
    batch = features.collate(STEP)
    outputs = model(
        **model_inputs(batch), start_positions=batch["gold"][:, 0].clone(), end_positions=batch["gold"][:, 1].clone()
    )
    term = label_term(outputs, batch, padding=True)
    assert term.shape == (len(STEP),)
    torch.testing.assert_close(term.mean(), outputs.loss)


def test_a_window_without_a_label_costs_nothing():
    outputs = outputs_like(torch.zeros(2, 4), torch.zeros(2, 4))
    term = label_term(outputs, {"gold": torch.tensor([[1, 2], [-1, -1]])}, padding=True)
    torch.testing.assert_close(term, torch.tensor([np.log(4.0), 0.0], dtype=torch.float32))


@pytest.mark.parametrize("direction", ["forward_kl", "reverse_kl", "symmetric_kl"])
@pytest.mark.parametrize("context_only", [True, False])
@pytest.mark.parametrize("padding", [True, False])
def test_a_student_that_equals_its_teacher_has_no_kd_term(model, features, direction, context_only, padding):
    batch = features.collate(STEP)
    with torch.no_grad():
        outputs = model(**model_inputs(batch))
    teacher = TeacherSignals(outputs.start_logits, outputs.end_logits, torch.ones(len(STEP), 2))
    config = QaDistillation(direction=direction, context_only=context_only, temperature=3.0)
    term = kd_term(outputs, batch, teacher, config, padding=padding)
    assert term.shape == (len(STEP),)
    assert term.abs().max() < 1e-5


def test_the_kd_term_of_a_known_row():
    # Over the two context positions the teacher is 3:1 at the start and agrees with the student at the end. At T = 1
    # the start costs 0.75 ln 1.5 + 0.25 ln 0.5 = 0.1308 nats, half of which is 0.0654; its coefficient is 0.5.
    batch = {
        "context_mask": torch.tensor([[False, True, True, False]]),
        "attention_mask": torch.tensor([[1, 1, 1, 0]]),
        "gold": torch.tensor([[1, 1]]),
    }
    student = outputs_like(torch.tensor([[9.0, 0.0, 0.0, 7.0]]), torch.tensor([[5.0, 1.0, 1.0, 2.0]]))
    start = torch.tensor([[-3.0, np.log(3.0), 0.0, ABSENT]], dtype=torch.float32)
    teacher = TeacherSignals(start, torch.zeros(1, 4), torch.tensor([[0.5, 1.0]]))
    term = kd_term(student, batch, teacher, QaDistillation(temperature=1.0), padding=False)
    assert term.item() == pytest.approx(0.5 * 0.130812 / 2, rel=1e-4)


def test_positions_are_the_context_or_what_is_no_padding_or_all():
    batch = {
        "context_mask": torch.tensor([[False, True, False, False]]),
        "attention_mask": torch.tensor([[1, 1, 1, 0]]),
    }
    within, beyond = QaDistillation(context_only=True), QaDistillation(context_only=False)
    assert positions(batch, within, padding=True).tolist() == [[False, True, False, False]]
    assert positions(batch, beyond, padding=False).tolist() == [[True, True, True, False]]
    assert positions(batch, beyond, padding=True) is None


def test_confidence_of_a_known_row():
    # Window 0: the gold start is ranked first, the gold end third.
    start, end = torch.tensor([[3.0, 1.0, 2.0, 0.0]]), torch.tensor([[3.0, 1.0, 2.0, 0.0]])
    config = QaDistillation(coefficient="reciprocal_rank", window=0)
    assert confidence(start, end, torch.tensor([[0, 1]]), None, config).tolist() == [[1.0, pytest.approx(1 / 3)]]
    # Without the first position the gold end is ranked second, and the gold start takes no part.
    mask = torch.tensor([[False, True, True, True]])
    assert confidence(start, end, torch.tensor([[0, 1]]), mask, config).tolist() == [[0.0, 0.5]]


def test_a_reduced_coefficient_is_the_mean_over_its_group():
    values = torch.tensor([[1.0, 0.5], [0.5, 0.0], [0.25, 0.75]])
    config = QaDistillation(coefficient="map_at_k", reduce="batch")
    torch.testing.assert_close(reduced(values, config), torch.full((3, 2), 0.5))
    groups = reduced(values, config.model_copy(update={"reduce_group": 2}))
    torch.testing.assert_close(groups, torch.tensor([[0.5, 0.5], [0.5, 0.5], [0.5, 0.5]]))
    uneven = reduced(values * torch.tensor([[1.0], [1.0], [2.0]]), config.model_copy(update={"reduce_group": 2}))
    torch.testing.assert_close(uneven, torch.tensor([[0.5, 0.5], [0.5, 0.5], [1.0, 1.0]]))
    assert reduced(values, config.model_copy(update={"reduce": "example"})) is values
    constant = QaDistillation(reduce="batch")
    assert reduced(values, constant) is values


# Teachers ---------------------------------------------------------------------------------------------------------


@each_of(CONFIDENCE)
def test_a_stored_and_a_live_teacher_say_the_same(model, features, signals, options):
    config = QaDistillation(**options)
    stored = StoredTeacher(features, signals, config, device=CPU).for_step(STEP, MICROS)
    live = LiveTeacher(model, features, None, config, device=CPU).for_step(STEP, MICROS)
    for micro, ours, theirs in zip(MICROS, stored, live, strict=True):
        batch = features.collate(micro.indices)
        inside = batch["attention_mask"].bool()
        torch.testing.assert_close(ours.start[inside], theirs.start[inside], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(ours.end[inside], theirs.end[inside], rtol=1e-4, atol=1e-4)
        assert (ours.start[~inside] == ABSENT).all()
        torch.testing.assert_close(ours.coefficient, theirs.coefficient)
        student = outputs_like(torch.zeros(inside.shape), torch.ones(inside.shape))
        terms = [kd_term(student, batch, teacher, config, padding=False) for teacher in (ours, theirs)]
        torch.testing.assert_close(*terms, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("context_only", [True, False])
def test_how_sure_a_teacher_is_of_the_gold_boundaries_is_a_mean_of_probabilities(features, signals, context_only):
    config = QaDistillation(context_only=context_only)
    found = StoredTeacher(features, signals, config, device=CPU).watched()
    for side, name in enumerate(("start", "end")):
        chances = []
        for row in range(len(features)):
            batch = features.collate(np.array([row]))
            logits = signals[name][features.bounds[row] : features.bounds[row + 1]].double()
            inside = batch["context_mask"][0] if context_only else torch.ones(len(logits), dtype=torch.bool)
            place = int(batch["gold"][0, side])
            total = sum(math.exp(value) for value, there in zip(logits.tolist(), inside.tolist(), strict=True) if there)
            chances.append(math.exp(logits[place]) / total if inside[place] else 0.0)
        assert found[f"teacher_{name}"] == pytest.approx(100 * sum(chances) / len(chances), rel=1e-4)


def test_the_coefficients_of_the_step_are_neither_all_equal_nor_all_zero(features, signals):
    # Otherwise the test before this one would say little.
    config = QaDistillation(coefficient="map_at_k")
    coefficients = StoredTeacher(features, signals, config, device=CPU).per_window
    assert coefficients[STEP].std() > 0.05
    assert 0 <= coefficients.min() <= coefficients.max() <= 1


@each_of(CONFIDENCE)
def test_coefficients_do_not_depend_on_how_a_step_is_cut(model, features, signals, options):
    config = QaDistillation(**options)
    for teacher in (
        StoredTeacher(features, signals, config, device=CPU),
        LiveTeacher(model, features, None, config, device=CPU),
    ):
        whole = teacher.for_step(STEP, [MicroBatch(STEP, False)])
        # Micro-batches are sorted by length, so a step's order is not the order of its parts.
        mixed = [MicroBatch(STEP[[6, 0]], False), MicroBatch(STEP[[3, 1, 2, 5, 4]], False)]
        parts = torch.cat([part.coefficient for part in teacher.for_step(STEP, mixed)])
        torch.testing.assert_close(parts, whole[0].coefficient[[6, 0, 3, 1, 2, 5, 4]])


@each_of(CONFIDENCE)
def test_the_coefficient_of_every_step_is_kept_with_its_spread(model, features, signals, options):
    config = QaDistillation(**options)
    steps = [STEP, np.array([1, 4, 6])]
    stored = StoredTeacher(features, signals, config, device=CPU)
    live = LiveTeacher(model, features, None, config, device=CPU)
    for step in steps:
        live.for_step(step, [MicroBatch(step[:2], False), MicroBatch(step[2:], False)])
    found = stored.coefficients(steps)
    if config.coefficient == "constant":
        assert found == live.coefficients(steps) == []
        return
    values = [stored.per_window[step].numpy() for step in steps]
    expected = [[float(each.mean()), float(each.std())] for each in values]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(live.coefficients(steps), expected, rtol=1e-4, atol=1e-5)
    # What was read belongs to the epoch before.
    assert live.coefficients(steps) == []


def test_an_idle_micro_batch_has_no_say_in_the_coefficient_of_its_step(model, features):
    # The ranks of a step add up what they know; each starts from 0 for the windows of the others.
    config = QaDistillation(coefficient="map_at_k", reduce="batch")
    teacher = LiveTeacher(model, features, None, config, device=CPU)
    alone = teacher.for_step(STEP, MICROS)[0].coefficient[0]
    first = teacher.for_step(STEP, MICROS[:2])
    second = teacher.for_step(STEP, [MICROS[2], MicroBatch(STEP[:1], True)])
    assert len(second) == 2
    torch.testing.assert_close(first[0].coefficient[0] + second[0].coefficient[0], alone)


def test_teachers_pad_to_the_width_of_the_student(model, features, signals):
    config = QaDistillation()
    for teacher in (
        StoredTeacher(features, signals, config, device=CPU, pad_to=60),
        LiveTeacher(model, features, None, config, device=CPU, pad_to=60),
    ):
        assert [list(part.start.shape) for part in teacher.for_step(STEP, MICROS)] == [[3, 60], [2, 60], [2, 60]]


def test_a_live_teacher_sends_no_gradient(model, features):
    part = LiveTeacher(model, features, None, QaDistillation(), device=CPU).for_step(STEP, MICROS)[0]
    assert not part.start.requires_grad


@each_of([options for options in CONFIDENCE if options.get("context_only", True)])
def test_teachers_that_read_another_question_agree(model, features, small_world_tokenizer, options):
    config = QaDistillation(**options)
    questions = {number: ("Who?" if number % 2 else "Where is the town of the founder?") for number in range(18)}
    seen = with_questions(features, questions, small_world_tokenizer, max_question_length=24)
    aligned = align_signals(signals_of(model, seen), seen, features)
    stored = StoredTeacher(features, aligned, config, device=CPU).for_step(STEP, MICROS)
    live = LiveTeacher(model, features, seen, config, device=CPU).for_step(STEP, MICROS)
    for micro, ours, theirs in zip(MICROS, stored, live, strict=True):
        context = features.collate(micro.indices)["context_mask"]
        torch.testing.assert_close(ours.start, theirs.start, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(ours.end, theirs.end, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(ours.coefficient, theirs.coefficient)
        assert (ours.start[~context] == ABSENT).all()
        assert (ours.start[context] > ABSENT).all()


def test_signals_are_aligned_context_token_by_context_token(features, small_world_tokenizer):
    questions = {number: "Who is it?" * (number % 3 + 1) for number in range(18)}
    seen = with_questions(features, questions, small_world_tokenizer, max_question_length=24)
    # A token's signal is its own id: equal tokens must meet.
    aligned = align_signals({"start": torch.from_numpy(seen.tokens.astype(np.float32))}, seen, features)["start"]
    for row in range(len(features)):
        first, past = features.context[row] + features.bounds[row]
        assert aligned[first:past].tolist() == features.tokens[first:past].tolist()
    assert (aligned == ABSENT).sum() == sum(features.lengths) - sum(np.diff(features.context)[:, 0])


# Answers and scores -----------------------------------------------------------------------------------------------


@pytest.fixture
def two_windows(wordpiece):
    """One example whose context is cut in two, and one that fits one window."""
    context = " ".join("abcdefghijklmnopqrstuvwx")
    examples = [
        QAExample("q1", "what", context, (Answer("b c", 2),), "en", "de"),
        QAExample("q2", "what", "x y z", (Answer("y", 2),), "en", "de"),
    ]
    options = {"max_length": 16, "stride": 0, "max_question_length": 8, "no_answer": "keep"}
    return examples, build_features(examples, wordpiece, **options)


def test_the_best_window_answers(two_windows):
    examples, features = two_windows
    assert features.example.tolist() == [0, 0, 1]
    # A window's tokens: [CLS] what [SEP], then its part of the context.
    spans = [(2, -5.0, 4, 4), (0, 1.0, 4, 5), (1, 2.0, 3, 4)]
    assert best_answers(features, examples, spans) == {0: "m n", 1: "y"}
    assert best_answers(features, examples, reversed(spans)) == {0: "m n", 1: "y"}


def test_of_equally_good_windows_the_first_answers_whatever_the_order(two_windows):
    examples, features = two_windows
    spans = [(1, 2.0, 3, 4), (0, 2.0, 4, 5)]
    assert best_answers(features, examples, spans) == {0: "b c"}
    assert best_answers(features, examples, spans[::-1]) == {0: "b c"}


def test_the_spans_of_a_batch_lead_to_the_text_that_the_logits_point_at(two_windows):
    examples, features = two_windows
    indices = np.array([2, 0, 1])
    batch = features.collate(indices)
    start, end = torch.zeros(3, 16), torch.zeros(3, 16)
    start[0, 4] = end[0, 5] = 3.0  # y z
    start[1, 3] = end[1, 4] = 4.0  # a b
    start[2, 1] = end[2, 1] = 9.0  # the question is no answer
    spans = spans_of(outputs_like(start, end), batch, indices, max_answer_tokens=30)
    assert best_answers(features, examples, spans) == {0: "a b", 1: "y z"}


def cell_scores(*args, **options) -> dict:
    return {cell: score_cell(of_cell.values()) for cell, of_cell in score_answers(*args, **options).items()}


def test_cells_are_scored_in_the_language_of_their_context():
    examples = [
        QAExample("q1", "wer?", "der alte Fluss", (Answer("der alte Fluss", 0),), "en", "de"),
        QAExample("q2", "wer?", "ein Haus", (Answer("Haus", 4),), "en", "de"),
        QAExample("q1", "wer?", "the old river", (Answer("the old river", 0),), "en", "en"),
    ]
    answers = {0: "alte Fluss", 1: "Haus am See", 2: "river"}
    scores = cell_scores({("en", "de"): [0, 1], ("en", "en"): [2]}, answers, examples, normalization="mlqa")
    # German articles go: `alte Fluss` is exact. `Haus am See`: precision 1/3, recall 1, F1 1/2.
    assert (scores["en", "de"].exact_match, scores["en", "de"].f1) == (50.0, pytest.approx(75.0))
    # `old river` has 2 tokens, 1 of them was given: precision 1, recall 1/2, F1 2/3.
    assert scores["en", "en"].f1 == pytest.approx(200 / 3)
    english = cell_scores({("en", "de"): [0]}, answers, examples, normalization="squad")
    assert english["en", "de"].exact_match == 0.0
    assert english["en", "de"].f1 == pytest.approx(80.0)  # 2 of 2 and 2 of 3


def test_an_example_without_an_answer_scores_0():
    examples = [QAExample("q1", "who?", "the river", (Answer("river", 4),), "en", "en")]
    (score,) = cell_scores({("en", "en"): [0]}, {}, examples, normalization="mlqa").values()
    assert dataclasses.astuple(score) == (0.0, 0.0, 1)


def test_cells_in_a_result_are_named_question_first():
    examples = [QAExample("q1", "who?", "the river", (Answer("river", 4),), "en", "de")]
    scores = cell_scores({("en", "de"): [0]}, {0: "river"}, examples, normalization="mlqa")
    assert cells_to_json(scores) == {"en-de": {"f1": 100.0, "exact_match": 100.0, "num_questions": 1}}


def released_loss(student, teacher, gold, *, temperature: float, size: int) -> float:
    """Sections 1.2 and 1.3 of the method, one micro-batch and one example after another."""
    total = 0.0
    for first in range(0, len(gold), size):
        rows = slice(first, first + size)
        coefficients, terms = [], []
        for side in (0, 1):
            precisions = []
            for logits, position in zip(teacher[side][rows], gold[rows, side].tolist(), strict=True):
                ranked = logits.topk(10).indices.tolist()
                hits = [rank for rank, index in enumerate(ranked, start=1) if position - 5 <= index <= position + 4]
                precisions.append(1 / hits[0] if hits else 0.0)
            coefficients.append(sum(precisions) / len(precisions))
            log_student = torch.log_softmax(student[side][rows] / temperature, dim=-1)
            softened = torch.softmax(teacher[side][rows] / temperature, dim=-1)
            terms.append(torch.nn.KLDivLoss(reduction="batchmean")(log_student, softened) * temperature**2)
        label = sum(torch.nn.functional.cross_entropy(student[side][rows], gold[rows, side]) for side in (0, 1)) / 2
        total += (label + sum(coefficients) / 2 * sum(terms) / 2).item()
    return total / (len(gold) / size)


def test_the_legacy_loss_is_the_released_one():
    torch.manual_seed(5)
    student, teacher = torch.randn(2, 24, 64), 3 * torch.randn(2, 24, 64)
    gold = torch.randint(0, 64, (24, 2))
    config = QaDistillation(
        temperature=2.0,
        coefficient="reciprocal_rank",
        window=(5, 4),
        reduce="batch",
        reduce_group=6,
        context_only=False,
        signals="live",
    )
    outputs = SimpleNamespace(start_logits=student[0], end_logits=student[1])
    batch = {"gold": gold, "attention_mask": torch.ones(24, 64, dtype=torch.long)}
    coefficient = reduced(confidence(*teacher, gold, positions(batch, config, padding=True), config), config)
    signals = TeacherSignals(*teacher, coefficient)
    ours = label_term(outputs, batch, padding=True) + kd_term(outputs, batch, signals, config, padding=True)
    assert ours.mean().item() == pytest.approx(released_loss(student, teacher, gold, temperature=2.0, size=6), abs=1e-6)
