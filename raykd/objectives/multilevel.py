"""Terms of the student's loss on parallel text: masked pieces, words, sentences and the relations of sentences.

Multi-level distillation of semantic knowledge, MMKD (arXiv:2211.01200): a frozen English teacher, a multilingual
student. The terms are those that its method describes; where its released code does something else, the docstring says
so. Every term has one value for each sentence, unreduced. Inputs have any float dtype; all is computed in float32, also
under autocast. No gradient flows into anything of the teacher, and nothing here makes a GPU wait for the host, but
`sentence_health`. A shape that does not fit raises ValueError.
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from raykd.objectives.kd import forward_kl

_IGNORED_LABEL = -100


def masked_lm(logits: Tensor, labels: Tensor, rows: Tensor, num_rows: int) -> Tensor:
    """Cross-entropy of the masked pieces, summed over those of each sentence.

    The mean over all masked pieces of a step, the loss of masked and translation language modelling (Devlin et al.
    2019, arXiv:1810.04805; Conneau and Lample 2019, arXiv:1901.07291), is the sum of this divided by their number. The
    released code counts every position of the sequence instead, padding too.

    Args:
        logits: [M, V], the student's, of the masked pieces alone.
        labels: [M] int64, the piece that was there. One that is -100 costs 0 and sends no gradient: M can be padded.
        rows: [M] int64 below `num_rows`, the sentence that each piece belongs to.
        num_rows: B.

    Returns:
        [B] float32, nats, at least 0; 0 for a sentence without a masked piece.
    """
    if logits.dim() != 2 or not labels.shape == rows.shape == logits.shape[:1]:
        shapes = list(logits.shape), list(labels.shape), list(rows.shape)
        raise ValueError(
            f"got logits {shapes[0]}, labels {shapes[1]} and rows {shapes[2]}; they must be [M, V], [M], [M]"
        )
    losses = F.cross_entropy(logits.float(), labels, ignore_index=_IGNORED_LABEL, reduction="none")
    return losses.new_zeros(num_rows).index_add(0, rows, losses)


def word_contrast(
    teacher: Tensor,
    student: Tensor,
    word_mask: Tensor,
    masked: Tensor,
    *,
    similarity: Literal["dot", "cosine"] = "dot",
    temperature: float = 1.0,
) -> Tensor:
    """-log of the share of the student's own word j among all words of the sentence, by likeness to the teacher's j.

    The mean over the masked words j of `-log softmax_k(t_j . s_k / T)[k = j]`: a masked word of the student has to be
    nearest to what the teacher, who reads it unmasked, makes of it. The paper's code has T = 1 and dot products.

    Args:
        teacher: [B, W, H], one vector for each word; only those of masked words are looked at.
        student: [B, W, H], of the same words in the same order; only those in `word_mask` are looked at. The others
            may be anything, inf and nan too, and get no gradient.
        word_mask: [B, W] bool, True for words, [CLS] and [SEP].
        masked: [B, W] bool, True for words that the student did not see. All of them are in `word_mask`.
        similarity: of t_j and s_k, their dot product or their cosine.
        temperature: T > 0, no unit.

    Returns:
        [B] float32, nats, at least 0; 0 for a sentence without a masked word. `mean_over_masked` reduces it.

    Raises:
        ValueError: if a shape does not fit, a mask is not bool, T is not above 0 or the similarity is another.
    """
    _check_vectors(teacher, student, ndim=3)
    _check_mask("word_mask", word_mask, student.shape[:2])
    _check_mask("masked", masked, student.shape[:2])
    if not temperature > 0:
        raise ValueError(f"temperature: got {temperature}; it must be above 0")
    if similarity not in {"dot", "cosine"}:
        raise ValueError(f"similarity: got {similarity!r}; it must be 'dot' or 'cosine'")
    targets, words = _kept(teacher.detach(), masked), _kept(student, word_mask)
    if similarity == "cosine":
        targets, words = F.normalize(targets, dim=-1), F.normalize(words, dim=-1)
    scores = _dot_products(targets, words) / temperature
    scores = scores.masked_fill(~word_mask.unsqueeze(1), torch.finfo(torch.float32).min)
    own = torch.arange(masked.shape[1], device=masked.device).masked_fill(~masked, _IGNORED_LABEL)
    losses = F.cross_entropy(scores.flatten(0, 1), own.flatten(), ignore_index=_IGNORED_LABEL, reduction="none")
    return losses.view(masked.shape).sum(dim=1) / masked.sum(dim=1).clamp(min=1)


def mean_over_masked(values: Tensor, masked: Tensor) -> Tensor:
    """The mean of [B] values over the sentences that have a word in `masked` [B, W] bool; [], 0 if none has."""
    _check_mask("masked", masked, (*values.shape, masked.shape[-1]))
    counted = masked.any(dim=1)
    return values.masked_fill(~counted, 0).sum() / counted.sum().clamp(min=1)


def sentence_alignment(query: Tensor, key: Tensor) -> Tensor:
    """2 - 2 cos(query, key), the squared distance of the L2-normalised vectors (Grill et al. 2020, arXiv:2006.07733).

    Args:
        query: [N, D], the student's, of the sentences in the other language.
        key: [N, D], the teacher's, of the English ones.

    Returns:
        [N] float32, no unit, in [0, 4] but for rounding; 0 where both point the same way.
    """
    _check_vectors(query, key, ndim=2)
    # The distance itself: 2 - 2 cos of near vectors is what rounding leaves of it, and can fall below 0.
    gap = F.normalize(query.float(), dim=-1) - F.normalize(key.detach().float(), dim=-1)
    return gap.square().sum(dim=-1)


def structure_alignment(query: Tensor, key: Tensor, *, temperature: float = 1.0, valid: Tensor | None = None) -> Tensor:
    """KL(teacher || student) of how alike each sentence is to all given ones: softmax over cosines / T.

    A sentence is one of its own neighbours. There is no factor T**2. Cosines at T = 1 make rows that are almost
    uniform, and the value small: that is why the paper's code weighs this term with 10.

    Args:
        query: [N, D], the student's, of the sentences in the other language.
        key: [N, D], the teacher's, of the English ones.
        temperature: T > 0, no unit.
        valid: [N] bool, False for padding: such a row is no neighbour, is worth 0 and gets no gradient, and may hold
            anything, inf and nan too. None: all rows are sentences.

    Returns:
        [N] float32, nats. Never below 0 but for rounding; 0 where the relations agree, and so with one sentence.

    Raises:
        ValueError: if a shape does not fit, `valid` is not bool or T is not above 0.
    """
    _check_vectors(query, key, ndim=2)
    if valid is not None:
        _check_mask("valid", valid, query.shape[:1])
        query, key = _kept(query, valid), _kept(key, valid)
    student, teacher = (F.normalize(vectors.float(), dim=-1) for vectors in (query, key.detach()))
    relations = _dot_products(student, student), _dot_products(teacher, teacher)
    neighbours = None if valid is None else valid.unsqueeze(0) & valid.unsqueeze(1)
    return forward_kl(*relations, temperature=temperature, mask=neighbours) / temperature**2


@torch.no_grad()
def sentence_health(vectors: Tensor) -> dict[str, float]:
    """How far sentence vectors, [N, H] and finite, have collapsed onto a point or a few directions; waits for the GPU.

    Returns:
        mean_cosine: over all pairs of two sentences, in [-1, 1]; 1 where all point the same way.
        std: the standard deviation over the L2-normalised vectors, mean over dimensions, times sqrt(H). 0 where all
            point the same way, about 1 where directions are isotropic (Chen and He 2021, arXiv:2011.10566, sec. 4.1).
        effective_rank: exp of the entropy of the singular values, divided by their sum, of the centred vectors, from
            1 to min(N - 1, H) (Roy and Vetterli 2007, The effective rank); 0 where they differ by no more than
            rounding.

        One sentence is as good as many that are the same: 1, 0 and 0.

    Raises:
        ValueError: if there is no sentence.
    """
    if vectors.dim() != 2 or 0 in vectors.shape:
        raise ValueError(f"vectors: got {list(vectors.shape)}; they must be [N, H], N and H at least 1")
    num, size = vectors.shape
    vectors = vectors.float()
    directions = F.normalize(vectors, dim=-1)
    # |sum v|**2 is the sum over all pairs, those of a vector and itself included.
    pairs = directions.sum(dim=0).square().sum() - directions.square().sum()
    return {
        "mean_cosine": (pairs / (num * (num - 1))).item() if num > 1 else 1.0,
        "std": directions.std(dim=0, correction=0).mean().item() * math.sqrt(size),
        "effective_rank": _effective_rank(vectors),
    }


def _effective_rank(vectors: Tensor) -> float:
    values = torch.linalg.svdvals(vectors - vectors.mean(dim=0))
    # Centring leaves rounding behind, which would be of full rank where all vectors are the same.
    rounding = 10 * torch.finfo(vectors.dtype).eps * torch.linalg.matrix_norm(vectors)
    values = values.masked_fill(values <= rounding, 0)
    total = values.sum()
    entropy = torch.special.entr(values / total).sum()
    return torch.where(total > 0, entropy.exp(), 0).item()


def _kept(vectors: Tensor, mask: Tensor) -> Tensor:
    """In float32; vectors outside the mask become 0 and get no gradient, whatever they were."""
    return vectors.float().masked_fill(~mask.unsqueeze(-1), 0)


def _dot_products(rows: Tensor, columns: Tensor) -> Tensor:
    """[.., M, H] and [.., N, H] to [.., M, N], in float32: autocast lowers matrix products."""
    with torch.autocast(rows.device.type, enabled=False):
        return rows @ columns.mT


def _check_vectors(first: Tensor, second: Tensor, *, ndim: int) -> None:
    if first.shape != second.shape or first.dim() != ndim:
        expected = ["B", "W", "H"] if ndim == 3 else ["N", "D"]
        raise ValueError(
            f"vectors: got {list(first.shape)} and {list(second.shape)}; both must be the same [{', '.join(expected)}]"
        )


def _check_mask(name: str, mask: Tensor, shape: tuple[int, ...]) -> None:
    if mask.shape != tuple(shape) or mask.dtype != torch.bool:
        raise ValueError(f"{name}: got {list(mask.shape)} of {mask.dtype}; it must be bool {list(shape)}")
