"""Classification of sentence pairs in languages without training data, by a probe on frozen sentence vectors.

The probe is softmax regression, trained on English alone; what it scores elsewhere is what the encoder shares between
the languages. No weight of the encoder is touched, so that the score is one of the vectors, not of a fine-tuning.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from raykd.errors import DataError

log = logging.getLogger(__name__)

_L2_CANDIDATES = (10.0, 3.0, 1.0, 0.3, 0.1, 0.01)
"""From the strongest on. Features are in deviations, so that one range serves all encoders."""

_NEGLIGIBLE_DEVIATION = 1e-6
"""Relative to the mean. What varies less is constant but for rounding in float32; scaling it up would make it noise."""

LabelledPairs = tuple[np.ndarray, np.ndarray, Sequence[str]]
"""First sentences [N, H], second sentences [N, H] and the label of each pair."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Softmax regression on standardised features.

    Attributes:
        mean, deviation: [D] float64, of the features it was trained on.
        weight: [D, C] float64.
        bias: [C] float64.
    """

    mean: np.ndarray
    deviation: np.ndarray
    weight: np.ndarray
    bias: np.ndarray

    def logits(self, features: np.ndarray) -> np.ndarray:
        """[N, D] -> [N, C] float64, not normalised."""
        return (features - self.mean) / self.deviation @ self.weight + self.bias

    def predict(self, features: np.ndarray) -> np.ndarray:
        """[N, D] -> [N] int64, the most probable class; of equals the first."""
        return self.logits(features).argmax(axis=1)


def pair_vector(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """What a pair of sentences looks like to the probe: (u, v, |u - v|, u * v) of vectors scaled to length 1.

    The combination is that of InferSent (Conneau et al. 2017, arXiv:1705.02364).

    Args:
        u: [N, H], any float dtype; computed in float32. A vector of zeros stays one.
        v: [N, H], likewise.

    Returns:
        [N, 4H] float32.

    Raises:
        ValueError: if the shapes differ or a vector is not finite.
    """
    if u.ndim != 2 or u.shape != v.shape:
        raise ValueError(f"u and v: got {list(u.shape)} and {list(v.shape)}; both must be [N, H]")
    if not (np.isfinite(u).all() and np.isfinite(v).all()):
        raise ValueError("u and v: a vector is not finite; has the encoder diverged?")
    u, v = (F.normalize(torch.tensor(vectors, dtype=torch.float32), dim=1).numpy() for vectors in (u, v))
    return np.concatenate([u, v, np.abs(u - v), u * v], axis=1)


def fit_probe(features: np.ndarray, labels: np.ndarray, num_classes: int, *, l2: float = 1e-2) -> Probe:
    """Minimise the mean cross-entropy in nats plus l2 / 2 times the sum of squared weights; the bias is free.

    The minimum is unique but for the bias of classes without a row. Deterministic: the start is zero, all rows are one
    batch, in float64.

    Args:
        features: [N, D]. Each is standardised by its mean and deviation over these rows; one that is constant here
            is centred only, and gets no weight.
        labels: [N] int, each below `num_classes`.
        num_classes: C.
        l2: above 0, of features in deviations.

    Raises:
        ValueError: if the shapes do not fit, a label is out of range or `l2` is not above 0.
    """
    if features.ndim != 2 or labels.shape != features.shape[:1] or not len(labels):
        raise ValueError(f"features and labels: got {list(features.shape)} and {list(labels.shape)}; [N, D] and [N]")
    if labels.min() < 0 or labels.max() >= num_classes:
        raise ValueError(f"labels: got {labels.min()} to {labels.max()}; they must be 0 to {num_classes - 1}")
    if not l2 > 0:
        raise ValueError(f"l2: got {l2}; it must be above 0, or the weights of separable classes grow without end")
    mean, deviation = features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64)
    deviation = np.where(deviation > _NEGLIGIBLE_DEVIATION * np.abs(mean), deviation, 1.0)
    x = torch.from_numpy((features - mean) / deviation)
    y = torch.tensor(labels, dtype=torch.int64)
    weight = torch.zeros(x.shape[1], num_classes, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(num_classes, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight, bias],
        max_iter=1000,
        history_size=20,
        tolerance_grad=1e-6,
        tolerance_change=0,
        line_search_fn="strong_wolfe",
    )

    def objective() -> torch.Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(x @ weight + bias, y) + l2 / 2 * weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(objective)
    return Probe(mean, deviation, weight.detach().numpy(), bias.detach().numpy())


def choose_l2(
    features: np.ndarray,
    labels: np.ndarray,
    num_classes: int,
    *,
    groups: Sequence[str] | None = None,
    candidates: Sequence[float] = _L2_CANDIDATES,
    seed: int = 0,
) -> float:
    """The candidate whose probe, fitted to four fifths of the groups, gives the fifth held out the least cross-entropy.

    Cross-entropy tells close candidates apart where accuracy counts the same few rows; of equals the first candidate
    is taken.

    Args:
        features, labels, num_classes: see `fit_probe`.
        groups: [N], rows of the same group are held out together; without it each row is a group. There must be two.
            Pairs that share their first sentence should be one. XNLI has each premise once with every label: a probe
            that has seen two of the three is wrong about the third, and too strong a penalty would look best.
        candidates: values for `l2`, see `fit_probe`.
        seed: of the shuffle that splits the groups.

    Raises:
        ValueError: if there are fewer than two groups, or not one for each row.
    """
    group_of = np.arange(len(labels)) if groups is None else np.unique(np.array(groups), return_inverse=True)[1]
    num_groups = len(np.unique(group_of))
    if num_groups < 2 or group_of.shape != labels.shape:
        raise ValueError(
            f"groups: got {num_groups} in {len(group_of)} rows of {len(labels)}; two are needed, in all rows"
        )
    is_held_out = np.random.default_rng(seed).permutation(num_groups)[group_of] < max(1, num_groups // 5)
    held_out, fitted = np.flatnonzero(is_held_out), np.flatnonzero(~is_held_out)
    gold = torch.tensor(labels[held_out], dtype=torch.int64)

    def held_out_loss(l2: float) -> float:
        probe = fit_probe(features[fitted], labels[fitted], num_classes, l2=l2)
        return F.cross_entropy(torch.from_numpy(probe.logits(features[held_out])), gold).item()

    return min(candidates, key=held_out_loss)


def classify(
    train: LabelledPairs,
    tests: Mapping[str, LabelledPairs],
    *,
    groups: Sequence[str] | None = None,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Trains a probe on one language and tries it on others.

    Everything about the probe comes from `train`: classes, standardisation, `l2` (see `choose_l2`) and weights.

    Args:
        train: the English pairs.
        tests: language -> pairs; English too, if it is to be scored.
        groups: of the pairs of `train`, their first sentences for example; see `choose_l2`.
        seed: see `choose_l2`.

    Returns:
        language -> whether it was right about each pair, [N] bool.

    Raises:
        DataError: if a language has no pairs, training has fewer than two classes, or labels are not among those of
            training; names all of them.
        ValueError: if shapes do not fit or a vector is not finite.
    """
    classes = sorted(set(train[2]))
    problems = [f"{language}: no pairs to classify" for language, (_, _, labels) in tests.items() if not len(labels)]
    problems += [
        f"{language}: label {label!r} is not in training; known are {', '.join(classes)}"
        for language, (_, _, labels) in tests.items()
        for label in sorted(set(labels) - set(classes))
    ]
    if len(classes) < 2:
        problems.append(f"training pairs: labels {classes}; a probe needs at least two different ones")
    if problems:
        raise DataError(problems)
    number = {label: index for index, label in enumerate(classes)}
    features, gold = _numbered(train, number)
    l2 = choose_l2(features, gold, len(classes), groups=groups, seed=seed)
    probe = fit_probe(features, gold, len(classes), l2=l2)
    log.info("probe with l2 %g: %d pairs, %d classes, %d features", l2, len(gold), len(classes), features.shape[1])
    hits = {}
    for language, pairs in tests.items():
        features, gold = _numbered(pairs, number)
        hits[language] = probe.predict(features) == gold
    return hits


def classification_scores(hits: Mapping[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """What `classify` found: language -> "accuracy" in percent and "num_pairs"."""
    return {
        language: {"accuracy": 100 * float(right.mean()), "num_pairs": len(right)} for language, right in hits.items()
    }


def _numbered(pairs: LabelledPairs, number: Mapping[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """Features [N, 4H] and labels [N]."""
    u, v, labels = pairs
    return pair_vector(u, v), np.array([number[label] for label in labels], dtype=np.int64)
