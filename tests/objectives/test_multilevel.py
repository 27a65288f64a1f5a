import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from raykd.objectives.multilevel import (
    masked_lm,
    mean_over_masked,
    sentence_alignment,
    sentence_health,
    structure_alignment,
    word_contrast,
)

torch.set_num_threads(1)

some = settings(max_examples=60, deadline=None)
seeds = st.integers(0, 2**32)
sizes = st.integers(3, 7)  # With fewer dimensions a random vector can be so short that its cosine magnifies rounding.
temperatures = st.sampled_from([0.1, 0.5, 1.0, 3.0])
similarities = pytest.mark.parametrize("similarity", ["dot", "cosine"])


def random_vectors(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def assert_near(got: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(got.double(), expected.double(), rtol=1e-5, atol=1e-5)


def assert_same_losses(got: Callable, expected: Callable, student: Tensor, seed: int) -> None:
    """Values, and gradients of a random weighting of them, of two losses of the student's vectors."""
    results = []
    for loss, dtype in ((got, torch.float32), (expected, torch.float64)):
        vectors = student.clone().to(dtype).requires_grad_()
        values = loss(vectors)
        (values * random_vectors(len(values), seed=seed).to(dtype)).sum().backward()
        results.append((values.detach(), vectors.grad))
    for ours, theirs in zip(*results, strict=True):
        assert_near(ours, theirs)


# The definitions, one number after the other, in the dtype that comes in.


def dot(first: Tensor, second: Tensor) -> Tensor:
    return sum((a * b for a, b in zip(first, second, strict=True)), start=torch.zeros((), dtype=first.dtype))


def cosine(first: Tensor, second: Tensor) -> Tensor:
    return dot(first, second) / (dot(first, first) * dot(second, second)).sqrt()


def log_share(scores: list[Tensor], place: int) -> Tensor:
    """Logarithm of the softmax at one place."""
    largest = max(score.item() for score in scores)
    return scores[place] - largest - sum((score - largest).exp() for score in scores).log()


def plain_masked_lm(logits: Tensor, labels: Tensor, rows: Tensor, num_rows: int) -> Tensor:
    sums = [torch.zeros((), dtype=logits.dtype)] * num_rows
    for piece, label, row in zip(logits, labels.tolist(), rows.tolist(), strict=True):
        sums[row] = sums[row] - log_share(list(piece), label)
    return torch.stack(sums)


def plain_word_contrast(
    teacher: Tensor, student: Tensor, word_mask: Tensor, masked: Tensor, similarity: str, temperature: float
) -> Tensor:
    like, means = {"dot": dot, "cosine": cosine}[similarity], []
    for row in range(len(student)):
        words = [place for place, is_word in enumerate(word_mask[row].tolist()) if is_word]
        losses = []
        for place, word in enumerate(words):
            if masked[row, word]:
                scores = [like(teacher[row, word].to(student.dtype), student[row, k]) / temperature for k in words]
                losses.append(-log_share(scores, place))
        means.append(sum(losses) / len(losses) if losses else student[row].sum() * 0)
    return torch.stack(means)


def plain_structure(query: Tensor, key: Tensor, temperature: float) -> Tensor:
    divergences = []
    for i in range(len(query)):
        student = [cosine(query[i], other) / temperature for other in query]
        teacher = [cosine(key[i], other) / temperature for other in key.to(query.dtype)]
        shares = [(log_share(teacher, j), log_share(student, j)) for j in range(len(query))]
        divergences.append(sum(t.exp() * (t - s) for t, s in shares))
    return torch.stack(divergences)


class Words(NamedTuple):
    teacher: Tensor
    student: Tensor
    word_mask: Tensor
    masked: Tensor

    @property
    def masks(self) -> tuple[Tensor, Tensor]:
        return self.word_mask, self.masked


@st.composite
def sentences_of_words(draw: st.DrawFn) -> Words:
    """Sentences of 1 to 5 words among padding, each word masked or not; some have none that is."""
    lengths = draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    width, seed = max(lengths) + draw(st.integers(0, 2)), draw(seeds)
    word_mask = torch.arange(width) < torch.tensor(lengths).unsqueeze(1)
    rate = draw(st.sampled_from([0.0, 0.3, 1.0]))
    masked = word_mask & (torch.rand(word_mask.shape, generator=torch.Generator().manual_seed(seed)) < rate)
    shape = (*word_mask.shape, draw(sizes))
    return Words(random_vectors(*shape, seed=seed), random_vectors(*shape, seed=seed + 1), word_mask, masked)


def two_words(own: float) -> tuple[Tensor, Tensor]:
    """Teacher and student [2, 2]: the teacher's first word scores `own` with the student's first, 0 with the other."""
    return torch.tensor([[own, 0.0], [0.0, 0.0]]), torch.eye(2)


# Masked pieces


@some
@given(st.integers(0, 6), st.integers(1, 7), st.integers(1, 4), seeds)
def test_masked_pieces_are_summed_by_sentence(num_pieces, vocabulary, num_rows, seed):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(vocabulary, (num_pieces,), generator=generator)
    rows = torch.randint(num_rows, (num_pieces,), generator=generator)
    assert_same_losses(
        lambda logits: masked_lm(logits, labels, rows, num_rows),
        lambda logits: plain_masked_lm(logits, labels, rows, num_rows) + logits.sum() * 0,
        random_vectors(num_pieces, vocabulary, seed=seed) * 3,
        seed,
    )


def test_masked_pieces_of_known_probabilities():
    logits = torch.tensor([[3.0, 1.0], [1.0, 1.0], [3.0, 1.0]]).log()  # 3/4, 1/2 and 1/4
    losses = masked_lm(logits, torch.tensor([0, 1, 1]), torch.tensor([2, 0, 2]), 3)
    torch.testing.assert_close(losses, torch.tensor([math.log(2), 0.0, math.log(4 / 3) + math.log(4)]))


def test_pieces_that_are_not_masked_do_not_dilute_the_loss():
    # A model that copies what it sees and guesses what it does not see, one piece of eight.
    ids, masked = torch.arange(8), torch.arange(8) == 3
    logits = torch.nn.functional.one_hot(ids, 8).float() * 20
    logits[masked] = 0
    rows = torch.zeros(8, dtype=torch.int64)
    loss = masked_lm(logits[masked], ids[masked], rows[masked], 1) / masked.sum()
    torch.testing.assert_close(loss, torch.tensor([math.log(8)]))
    over_all_positions = masked_lm(logits, ids, rows, 1) / len(ids)
    torch.testing.assert_close(over_all_positions, loss / 8)


def test_pieces_that_pad_cost_nothing_and_get_no_gradient():
    logits = random_vectors(4, 5, seed=0).requires_grad_()
    rows = torch.tensor([1, 0, 0, 0])
    padded = masked_lm(logits, torch.tensor([3, 2, -100, -100]), rows, 2)
    torch.testing.assert_close(padded, masked_lm(logits[:2], torch.tensor([3, 2]), rows[:2], 2))
    padded.sum().backward()
    assert (logits.grad[2:] == 0).all() and (logits.grad[:2] != 0).all()


# Words


@some
@given(sentences_of_words(), st.sampled_from(["dot", "cosine"]), temperatures, seeds)
def test_word_contrast_is_that_of_its_definition(words, similarity, temperature, seed):
    def got(student: Tensor) -> Tensor:
        return word_contrast(words.teacher, student, *words.masks, similarity=similarity, temperature=temperature)

    def expected(student: Tensor) -> Tensor:
        return plain_word_contrast(words.teacher, student, *words.masks, similarity, temperature)

    assert_same_losses(got, expected, words.student, seed)


def test_word_contrast_of_known_words():
    teacher, student = (part.unsqueeze(0) for part in two_words(math.log(3.0)))
    word_mask, masked = torch.tensor([[True, True]]), torch.tensor([[True, False]])
    torch.testing.assert_close(word_contrast(teacher, student, word_mask, masked), torch.tensor([math.log(4 / 3)]))
    by_cosine = word_contrast(teacher * 5, student * 7, word_mask, masked, similarity="cosine")
    torch.testing.assert_close(by_cosine, torch.tensor([math.log(1 + 1 / math.e)]))


def test_words_are_compared_by_the_teacher_word_over_the_student_words():
    teacher, student = torch.tensor([[[2.0, 1.0], [9.0, 9.0]]]), torch.tensor([[[1.0, 0.0], [0.0, 3.0]]])
    masks = torch.tensor([[True, True]]), torch.tensor([[True, False]])
    # t_1 . s_1 = 2 and t_1 . s_2 = 3; the student's word over those of the teacher were 2 and 9.
    expected = -torch.tensor([2.0, 3.0]).log_softmax(dim=0)[0]
    torch.testing.assert_close(word_contrast(teacher, student, *masks), expected.unsqueeze(0))


@pytest.mark.parametrize("temperature", [0.05, 4.0])
@similarities
def test_the_temperature_divides_the_similarity(similarity, temperature):
    teacher, student = random_vectors(3, 4, 5, seed=0), random_vectors(3, 4, 5, seed=1)
    if similarity == "cosine":
        teacher, student = (torch.nn.functional.normalize(part, dim=-1) for part in (teacher, student))
    masks = torch.ones(3, 4, dtype=torch.bool), torch.ones(3, 4, dtype=torch.bool)
    got = word_contrast(teacher, student, *masks, similarity=similarity, temperature=temperature)
    torch.testing.assert_close(got, word_contrast(teacher / temperature, student, *masks))
    assert (got - word_contrast(teacher, student, *masks)).abs().min() > 1e-3


def test_a_mask_of_words_is_one_of_words_and_not_of_pieces():
    # [CLS] un ##be ##liev ##able story [SEP]: four words in seven pieces, of which the first ones stand for the words.
    first_piece, story = torch.tensor([0, 1, 5, 6]), 2
    pieces, teacher = random_vectors(7, 6, seed=0), random_vectors(4, 6, seed=1)
    masked = torch.arange(4) == story
    all_words = torch.ones(1, 4, dtype=torch.bool)
    got = word_contrast(teacher.unsqueeze(0), pieces[first_piece].unsqueeze(0), all_words, masked.unsqueeze(0))
    scores = [dot(teacher[story], pieces[place]) for place in first_piece]
    assert_near(got, -log_share(scores, story).unsqueeze(0))
    # Flags of pieces, read at the place of a word, find the inside of the word before.
    of_pieces = torch.tensor([False, False, False, False, False, True, False])
    misread = word_contrast(
        teacher.unsqueeze(0), pieces[first_piece].unsqueeze(0), all_words, of_pieces[:4].unsqueeze(0)
    )
    assert misread == 0 < got


@similarities
@pytest.mark.filterwarnings("ignore:Anomaly Detection")
@pytest.mark.parametrize("garbage", [math.inf, -math.inf, math.nan, 3e38])
def test_padding_may_hold_anything(similarity, garbage):
    word_mask = torch.tensor([[True, True, True, False], [True, True, False, False], [False] * 4])
    masked = torch.tensor([[False, True, True, False], [False] * 4, [False] * 4])
    teacher, student = random_vectors(3, 4, 5, seed=0), random_vectors(3, 4, 5, seed=1)
    expected = word_contrast(teacher, student, word_mask, masked, similarity=similarity)
    teacher[~masked], student[~word_mask] = garbage, garbage
    student.requires_grad_()
    with torch.autograd.detect_anomaly(check_nan=True):
        losses = word_contrast(teacher, student, word_mask, masked, similarity=similarity)
        losses.sum().backward()
    assert torch.equal(losses, expected)
    assert losses[0] > 0 and (losses[1:] == 0).all()
    assert student.grad.isfinite().all()
    assert (student.grad[0, :3] != 0).any(dim=-1).all()
    assert (student.grad[~word_mask] == 0).all() and (student.grad[1:] == 0).all()


def test_the_mean_is_over_the_sentences_with_a_masked_word():
    # The first sentence has none; the others cost -ln of 3/4 and of 1/5, and the mean is neither one of them nor less.
    teacher, student = (
        torch.stack(parts) for parts in zip(*map(two_words, (7.0, math.log(3.0), -math.log(4.0))), strict=True)
    )
    masked = torch.tensor([[False, False], [True, False], [True, False]])
    losses = word_contrast(teacher, student, torch.ones(3, 2, dtype=torch.bool), masked)
    torch.testing.assert_close(losses, torch.tensor([0.0, math.log(4 / 3), math.log(5)]))
    torch.testing.assert_close(mean_over_masked(losses, masked), torch.tensor((math.log(4 / 3) + math.log(5)) / 2))


@some
@given(sentences_of_words(), seeds)
def test_the_mean_over_masked_is_that_of_a_loop(words, seed):
    counted = words.masked.any(dim=1).tolist()
    values = random_vectors(len(counted), seed=seed)
    kept = [value for value, counts in zip(values.tolist(), counted, strict=True) if counts]
    expected = sum(kept) / len(kept) if kept else 0.0
    assert_near(mean_over_masked(values, words.masked), torch.tensor(expected))


def test_sentences_without_any_masked_word_cost_nothing_and_send_no_gradient():
    student = random_vectors(2, 3, 4, seed=0).requires_grad_()
    word_mask, masked = torch.ones(2, 3, dtype=torch.bool), torch.zeros(2, 3, dtype=torch.bool)
    loss = mean_over_masked(word_contrast(random_vectors(2, 3, 4, seed=1), student, word_mask, masked), masked)
    assert loss == 0 and loss.shape == ()
    loss.backward()
    assert (student.grad == 0).all()


# Sentences and their relations


@some
@given(st.integers(1, 5), sizes, seeds)
def test_sentence_alignment_is_two_minus_twice_the_cosine(num, size, seed):
    key = random_vectors(num, size, seed=seed + 1)

    def expected(query: Tensor) -> Tensor:
        return torch.stack([2 - 2 * cosine(q, k) for q, k in zip(query, key.to(query.dtype), strict=True)])

    query = random_vectors(num, size, seed=seed)
    assert_same_losses(lambda query: sentence_alignment(query, key), expected, query, seed)


def test_sentence_alignment_of_known_vectors():
    query = torch.tensor([[3.0, 0.0], [0.0, 0.1], [-2.0, 0.0], [5.0, 5.0]])
    expected = torch.tensor([0.0, 2.0, 4.0, 2 - 2**0.5])
    torch.testing.assert_close(sentence_alignment(query, torch.tensor([[1.0, 0.0]]).expand(4, 2)), expected)


@some
@example(num=1, size=3, temperature=0.5, seed=0)
@given(st.integers(1, 5), sizes, temperatures, seeds)
def test_structure_alignment_is_that_of_its_definition(num, size, temperature, seed):
    key = random_vectors(num, size, seed=seed + 1)
    assert_same_losses(
        lambda query: structure_alignment(query, key, temperature=temperature),
        lambda query: plain_structure(query, key, temperature),
        random_vectors(num, size, seed=seed),
        seed,
    )


def test_structure_alignment_of_two_sentences():
    # The student's are at a right angle, the teacher's the same: shares of e to 1 against 1 to 1.
    query, key = torch.eye(2), torch.ones(2, 2)
    own = math.e / (math.e + 1)
    expected = 0.5 * math.log(0.5 / own) + 0.5 * math.log(0.5 / (1 - own))
    torch.testing.assert_close(structure_alignment(query, key), torch.full((2,), expected))


def test_a_single_sentence_has_no_relations():
    query = random_vectors(1, 4, seed=0).requires_grad_()
    divergence = structure_alignment(query, random_vectors(1, 4, seed=1), temperature=0.05)
    divergence.sum().backward()
    assert divergence == 0 and query.grad.abs().max() <= 1e-6


def test_relations_that_agree_are_at_zero_however_the_vectors_are_turned_and_scaled():
    query = random_vectors(6, 8, seed=0)
    turn = torch.linalg.qr(random_vectors(8, 8, seed=1)).Q
    scale = random_vectors(6, 1, seed=2).abs() + 0.1
    assert structure_alignment(query, (query @ turn) * scale, temperature=0.1).abs().max() <= 1e-5
    assert sentence_alignment(query, query @ turn).min() > 0.1


@pytest.mark.parametrize("temperature", [1.0, 0.2])
def test_cosines_of_random_sentences_are_almost_uniform_without_a_temperature(temperature):
    num, size = 32, 128
    seeds_of_both = [(seed, seed + 1) for seed in range(0, 20, 2)]
    pairs = [[random_vectors(num, size, seed=seed) for seed in both] for both in seeds_of_both]
    divergences = [structure_alignment(*pair, temperature=temperature) for pair in pairs]
    # To second order half the variance of the gap of the scores, 2 / (size T**2) for other sentences and 0 for itself,
    # under a teacher that gives the others this share: 0.007 nats at T = 1, and 0.037 at T = 0.2.
    others = (num - 1) * math.exp(1 / (2 * size * temperature**2))
    others /= others + math.exp(1 / temperature)
    expected = others * (1 - others / (num - 1)) / (size * temperature**2)
    assert torch.cat(divergences).mean().item() == pytest.approx(expected, rel=0.1)


def test_relations_are_those_among_all_rows_that_are_given():
    query, key = random_vectors(8, 5, seed=0), random_vectors(8, 5, seed=1)
    in_halves = torch.cat([structure_alignment(query[half], key[half]) for half in (slice(0, 4), slice(4, 8))])
    together = structure_alignment(query, key)
    assert_near(together, plain_structure(query.double(), key, 1.0))
    assert (together - in_halves).abs().max() > 1e-2


@pytest.mark.filterwarnings("ignore:Anomaly Detection")
@pytest.mark.parametrize("garbage", [2.5, math.inf, math.nan])
def test_padding_rows_are_as_if_they_were_not_there(garbage):
    valid = torch.tensor([True, False, True, True, False])
    query, key = random_vectors(5, 4, seed=0), random_vectors(5, 4, seed=1)
    cut = query[valid].clone().requires_grad_()
    expected = structure_alignment(cut, key[valid], temperature=0.3)
    query[~valid], key[~valid] = garbage, garbage
    query.requires_grad_()
    with torch.autograd.detect_anomaly(check_nan=True):
        got = structure_alignment(query, key, temperature=0.3, valid=valid)
        got.sum().backward()
    expected.sum().backward()
    torch.testing.assert_close(got[valid], expected)
    torch.testing.assert_close(query.grad[valid], cut.grad)
    assert (got[~valid] == 0).all() and (query.grad[~valid] == 0).all()
    assert (structure_alignment(query, key, valid=torch.zeros(5, dtype=torch.bool)) == 0).all()


# Every term


def all_terms(teacher: Tensor, student: Tensor) -> dict[str, Tensor]:
    """Of [B, W, H]; the first words stand for the sentences."""
    masks = torch.ones(student.shape[:2], dtype=torch.bool), torch.ones(student.shape[:2], dtype=torch.bool)
    pieces = student.flatten(0, 1)
    of_piece = torch.arange(len(pieces))
    return {
        "masked_lm": masked_lm(pieces, of_piece % student.shape[2], of_piece // student.shape[1], len(student)),
        "dot": word_contrast(teacher, student, *masks),
        "cosine": word_contrast(teacher, student, *masks, similarity="cosine", temperature=0.1),
        "sentences": sentence_alignment(student[:, 0], teacher[:, 0]),
        "structure": structure_alignment(student[:, 0], teacher[:, 0], temperature=0.1),
    }


def test_no_gradient_flows_into_the_teacher():
    teacher, student = (random_vectors(3, 4, 5, seed=seed).requires_grad_() for seed in (0, 1))
    for name, loss in all_terms(teacher, student).items():
        to_teacher, to_student = torch.autograd.grad(loss.sum(), (teacher, student), allow_unused=True)
        assert to_teacher is None and to_student.abs().sum() > 0, name


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_terms_are_float32_whatever_comes_in_and_under_autocast(dtype):
    teacher, student = (random_vectors(3, 4, 64, seed=seed).to(dtype) for seed in (0, 1))
    expected = all_terms(teacher.float(), student.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = all_terms(teacher, student)
    for name, loss in got.items():
        assert loss.dtype == torch.float32 and loss.shape == (3,), name
        assert torch.equal(loss, expected[name]), name


def test_wrong_input_is_refused():
    vectors, words = torch.zeros(2, 3, 4), torch.ones(2, 3, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"got logits \[5, 9\], labels \[4\] and rows \[5\]"):
        masked_lm(torch.zeros(5, 9), torch.zeros(4, dtype=torch.int64), torch.zeros(5, dtype=torch.int64), 1)
    with pytest.raises(ValueError, match=r"both must be the same \[B, W, H\]"):
        word_contrast(vectors, vectors[:, :2], words, words)
    with pytest.raises(ValueError, match="word_mask: got"):
        word_contrast(vectors, vectors, words[:, :2], words)
    with pytest.raises(ValueError, match="masked: got"):
        word_contrast(vectors, vectors, words, words.long())
    with pytest.raises(ValueError, match="similarity: got 'l2'; it must be 'dot' or 'cosine'"):
        word_contrast(vectors, vectors, words, words, similarity="l2")
    with pytest.raises(ValueError, match="masked: got"):
        mean_over_masked(torch.zeros(3), words)
    with pytest.raises(ValueError, match=r"both must be the same \[N, D\]"):
        sentence_alignment(vectors[0], vectors[0, :2])
    with pytest.raises(ValueError, match="valid: got"):
        structure_alignment(vectors[0], vectors[0], valid=words[0, :2])
    with pytest.raises(ValueError, match="temperature: got 0"):
        word_contrast(vectors, vectors, words, words, temperature=0)
    with pytest.raises(ValueError, match="temperature: got -1"):
        structure_alignment(vectors[0], vectors[0], temperature=-1)
    with pytest.raises(ValueError, match="at least 1"):
        sentence_health(torch.zeros(0, 4))


# Health


@some
@given(st.integers(2, 7), sizes, seeds)
def test_health_is_that_of_loops(num, size, seed):
    vectors = random_vectors(num, size, seed=seed) + random_vectors(size, seed=seed + 1)
    rows = vectors.double()
    cosines = [cosine(rows[i], rows[j]).item() for i in range(num) for j in range(num) if i != j]
    unit = np.array([[value / math.sqrt(dot(row, row)) for value in row.tolist()] for row in rows])
    deviations = [math.sqrt(sum((x - column.mean()) ** 2 for x in column) / num) for column in unit.T]
    # The singular values by another way: roots of the eigenvalues of the covariance.
    centred = rows.numpy() - rows.numpy().mean(axis=0)
    values = np.sqrt(np.clip(np.linalg.eigvalsh(centred.T @ centred), 1e-20, None))
    shares = values / values.sum()
    expected = {
        "mean_cosine": sum(cosines) / len(cosines),
        "std": sum(deviations) / size * math.sqrt(size),
        "effective_rank": math.exp(-sum(p * math.log(p) for p in shares)),
    }
    assert sentence_health(vectors) == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_health_of_isotropic_vectors():
    health = sentence_health(random_vectors(4096, 16, seed=0) * 30)
    assert health == pytest.approx({"mean_cosine": 0, "std": 1, "effective_rank": 16}, rel=0.01, abs=0.001)


@pytest.mark.parametrize("num", [1, 50])
def test_health_of_sentences_that_are_all_the_same(num):
    health = sentence_health(random_vectors(1, 64, seed=0).expand(num, 64))
    assert health == pytest.approx({"mean_cosine": 1, "std": 0, "effective_rank": 0}, abs=1e-5)


def test_health_of_sentences_that_differ_in_two_directions_alone():
    around = torch.arange(12) * (2 * math.pi / 12)
    circle = torch.stack((around.cos(), around.sin()), dim=1) @ torch.linalg.qr(random_vectors(40, 2, seed=0)).Q.T
    offset = random_vectors(40, seed=1)
    assert sentence_health(circle + offset)["effective_rank"] == pytest.approx(2, abs=1e-3)
    assert sentence_health(circle)["mean_cosine"] == pytest.approx(-1 / 11, abs=1e-5)


def test_health_sends_no_gradient_and_reads_any_dtype():
    vectors = random_vectors(5, 6, seed=0).bfloat16().requires_grad_()
    assert sentence_health(vectors) == sentence_health(vectors.detach().float())
