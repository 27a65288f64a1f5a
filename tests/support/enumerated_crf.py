"""Small linear-chain CRFs and what they are by enumeration of all labellings, in float64."""

from dataclasses import dataclass

import torch
from hypothesis import strategies as st
from torch import Tensor

from raykd.objectives.crf import Transitions
from raykd.objectives.structure import exact_kd


@dataclass(frozen=True)
class Case:
    """A batch of sentences of mixed lengths."""

    emissions: Tensor
    mask: Tensor
    transitions: Transitions

    @property
    def arguments(self) -> tuple[Tensor, Tensor, Transitions]:
        return self.emissions, self.mask, self.transitions

    @property
    def lengths(self) -> list[int]:
        return self.mask.sum(dim=1).tolist()

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        return self.emissions, *self.transitions

    def with_gradients(self) -> "Case":
        return Case(*with_gradients(self))

    def own_transitions(self, row: int) -> Transitions:
        """Those of one sentence, [V, V] and [V]."""
        parts = zip(self.transitions, (2, 1, 1), strict=True)
        return Transitions(*(part[row] if part.dim() > dims else part for part, dims in parts))

    def sentence(self, row: int) -> "Case":
        """One sentence by itself, without padding."""
        place = slice(row, row + 1), slice(self.lengths[row])
        return Case(self.emissions[place], self.mask[place], self.own_transitions(row))


def with_gradients(case: Case) -> tuple[Tensor, Tensor, Transitions]:
    emissions, *parts = (part.clone().requires_grad_() for part in case.parameters)
    return emissions, case.mask, Transitions(*parts)


def random_case(lengths: list[int], num_labels: int, *, seed: int, scale: float = 1.0, own: bool = False) -> Case:
    """Scores from N(0, scale); with `own`, each sentence has its own transitions. What is no word is NaN."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator) * scale

    batch = (len(lengths),) if own else ()
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    emissions = normal(*mask.shape, num_labels).masked_fill(~mask[..., None], torch.nan)
    parts = normal(*batch, num_labels, num_labels), normal(*batch, num_labels), normal(*batch, num_labels)
    return Case(emissions, mask, Transitions(*parts))


def cases() -> st.SearchStrategy[Case]:
    return st.builds(
        random_case,
        st.lists(st.integers(1, 5), min_size=1, max_size=3),
        st.integers(1, 4),
        seed=st.integers(0, 2**32),
        scale=st.sampled_from([0.3, 3.0, 20.0]),
        own=st.booleans(),
    )


def labellings(length: int, num_labels: int) -> Tensor:
    """[V**n, n]."""
    return torch.cartesian_prod(*[torch.arange(num_labels)] * length).view(-1, length)


def all_scores(case: Case, row: int) -> Tensor:
    """The scores of all labellings of one sentence, in the order of `labellings`, with gradients."""
    length, num_labels = case.lengths[row], case.emissions.shape[-1]
    paths = labellings(length, num_labels)
    between, start, end = (part.double() for part in case.own_transitions(row))
    emissions = case.emissions[row].double()[torch.arange(length), paths].sum(dim=1)
    return emissions + between[paths[:, :-1], paths[:, 1:]].sum(dim=1) + start[paths[:, 0]] + end[paths[:, -1]]


def pair_table(case: Case, row: int) -> Tensor:
    """[n - 1, V, V], the probability of each pair at each place."""
    length, num_labels = case.lengths[row], case.emissions.shape[-1]
    paths, probabilities = labellings(length, num_labels), all_scores(case, row).softmax(dim=0)
    flat = paths[:, :-1] * num_labels + paths[:, 1:]
    table = [torch.zeros(num_labels**2).double().index_add(0, place, probabilities) for place in flat.T]
    return torch.stack(table).view(-1, num_labels, num_labels) if table else torch.zeros(0, num_labels, num_labels)


def label_table(case: Case, row: int) -> Tensor:
    """[n, V], the log-probability of each label at each word."""
    length, num_labels = case.lengths[row], case.emissions.shape[-1]
    paths, scores = labellings(length, num_labels), all_scores(case, row)
    of_label = [
        torch.stack([scores[paths[:, word] == label].logsumexp(dim=0) for label in range(num_labels)])
        for word in range(length)
    ]
    return torch.stack(of_label) - scores.logsumexp(dim=0)


def zero_transitions(num_labels: int) -> Transitions:
    return Transitions(torch.zeros(num_labels, num_labels), torch.zeros(num_labels), torch.zeros(num_labels))


def random_tags(case: Case, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    tags = torch.randint(case.emissions.shape[-1], case.mask.shape, generator=generator)
    return tags.masked_fill(~case.mask, -100)


def exact(student: Case, teacher: Case, **options) -> Tensor:
    return exact_kd(
        student.emissions,
        teacher.emissions,
        student.mask,
        student_transitions=student.transitions,
        teacher_transitions=teacher.transitions,
        **options,
    )
