"""Vector quantisation: each vector becomes the nearest entry of a learnt codebook (van den Oord et al. 2017)."""

from typing import Any, Final, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ivif.machine.process_group import broadcast_first, sum_over_processes
from ivif.models.layers.clustering import gather_equal, k_means, nearest_entries, totals

_SAMPLES_PER_ENTRY: Final = 16  # of all processes together, for k-means and for revival, and not fewer than
_SMALLEST_SAMPLE: Final = 4096
_STRIDE: Final = 1_000_003
_SHIFT: Final = 1_000_033
_DEAD_SHARE: Final = 0.1  # of an equal share: an entry is dead that fewer than 1 in 10 K vectors choose


class Quantized(NamedTuple):
    """What a quantiser gives.

    Attributes:
        vectors: (..., d), the entries; gradients pass to the input unchanged (straight through). Float32 or wider.
        indices: (...), int64, which entries.
        loss: Scalar.
    """

    vectors: Tensor
    indices: Tensor
    loss: Tensor


class VectorQuantizer(nn.Module):
    """A codebook of K entries of width d.

    Loss |sg(z) - q|^2 + beta |z - sg(q)|^2, a mean over vectors and their d numbers. With beta = 1 its gradients are
    1 / d of those of |z - q|^2, which From Text to Pixels (eq. 11) sums over the d numbers: a weight of d gives the
    printed ones. With `update: ema` only the second part: the entries follow moving averages of the vectors that chose
    them.

    The first forward in training mode sets the entries by k-means. Apart from that, forward changes nothing:
    `update_statistics` applies what all forwards in training mode saw since the last call, once a step, over all
    processes. All state is in parameters and buffers, and the global random generators are left alone, so a resumed run
    continues exactly.

    Args:
        entries: K >= 1.
        width: d >= 1.
        update: `grad` trains the entries by the loss; `ema` keeps them as a buffer without gradient.
        beta: Weight of the commitment part, >= 0.
        decay: Of the moving averages (usage, and entries with `ema`), in [0, 1).
        revive_after: An entry that has been dead (chosen by fewer than 1 in 10 K vectors on average) for so many
            updates becomes a vector of the current batch. 0: never.

    Raises:
        ValueError: If a number is out of range, or there is no such update.
    """

    codebook: Tensor
    sums: Tensor
    usage: Tensor
    idle: Tensor
    updates: Tensor
    started: Tensor

    def __init__(
        self,
        entries: int,
        width: int,
        update: Literal["grad", "ema"] = "grad",
        beta: float = 0.25,
        decay: float = 0.99,
        revive_after: int = 200,
    ) -> None:
        super().__init__()
        if min(entries, width) < 1 or beta < 0.0 or not 0.0 <= decay < 1.0 or revive_after < 0:
            raise ValueError(
                "VectorQuantizer needs entries >= 1, width >= 1, beta >= 0, decay in [0, 1) and revive_after >= 0; got "
                f"{entries}, {width}, {beta}, {decay}, {revive_after}."
            )
        if update not in ("grad", "ema"):
            raise ValueError(f"A codebook is updated by 'grad' or by 'ema', not by {update!r}.")
        self.beta, self.decay, self.revive_after = beta, decay, revive_after
        self.learns_by_gradient = update == "grad"
        start = torch.randn(entries, width)
        if self.learns_by_gradient:
            self.codebook = nn.Parameter(start)
        else:
            self.register_buffer("codebook", start)
            self.register_buffer("sums", torch.zeros(entries, width))
        self.register_buffer("usage", torch.zeros(entries))
        self.register_buffer("idle", torch.zeros(entries, dtype=torch.int64))
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        self.register_buffer("started", torch.zeros((), dtype=torch.bool))
        self._seen: list[tuple[Tensor, Tensor]] = []
        self._surely_started = False  # since an update; before it, buffers may yet be put back

    @property
    def entries(self) -> int:
        """The number of entries K."""
        return len(self.codebook)

    @property
    def perplexity(self) -> Tensor:
        """exp(entropy) of the entries' moving shares: a scalar in [1, K], K when all are used equally."""
        shares = self._shares()
        return torch.exp(-torch.xlogy(shares, shares).sum())

    @property
    def dead_fraction(self) -> Tensor:
        """Share of entries that fewer than 1 in 10 K vectors choose: a scalar in [0, 1], 1 before the first update."""
        return self._dead().float().mean()

    @torch.compiler.disable  # type: ignore[untyped-decorator] # its branches depend on its state, which it also writes
    def forward(self, vectors: Tensor) -> Quantized:
        """Replaces vectors by their nearest entries.

        Args:
            vectors: (..., d), at least one.

        Returns:
            The entries, their indices, and the loss.

        Raises:
            ValueError: If the width is not d, or there is no vector.
        """
        width = self.codebook.shape[1]
        if vectors.shape[-1] != width or not vectors.numel():
            raise ValueError(f"This codebook quantises vectors (..., {width}), got {tuple(vectors.shape)}.")
        with torch.autocast(vectors.device.type, enabled=False):
            exact = vectors.to(torch.promote_types(vectors.dtype, self.codebook.dtype))
            flat = exact.reshape(-1, width)
            if self.training and not (self._surely_started or self.started):  # asks the device at first only
                self._start(flat.detach())
            indices = nearest_entries(flat.detach(), self.codebook.detach())
            if self.training:
                self._seen.append((flat.detach(), indices))
            chosen = F.embedding(indices.view(exact.shape[:-1]), self.codebook)
            loss = self.beta * F.mse_loss(exact, chosen.detach())
            if self.learns_by_gradient:
                loss = loss + F.mse_loss(chosen, exact.detach())
            # Not z + (q - z), whose rounding would leave the entries.
            straight = chosen.detach() + (exact - exact.detach())
        return Quantized(straight, indices.view(exact.shape[:-1]), loss)

    def forget(self) -> None:
        """Drops what forwards in training mode saw: of a step that was left out, or of a measurement."""
        self._seen = []

    @torch.no_grad()
    def update_statistics(self) -> None:
        """Applies what forwards in training mode saw: usage, entries (`ema`), revival of dead entries.

        Call it once a step on every process, after the optimiser's step. Does nothing where no such forward came since
        the last call.
        """
        if not self._seen:
            return
        self._surely_started = True
        vectors, indices = (torch.cat(parts) for parts in zip(*self._seen, strict=True))
        self.forget()
        vectors = vectors.to(self.codebook.dtype)
        counts, sums = totals(vectors, indices, self.entries)
        self.usage.lerp_(sum_over_processes(counts), 1.0 - self.decay)
        self.updates += 1
        if not self.learns_by_gradient:
            self.sums.lerp_(sum_over_processes(sums), 1.0 - self.decay)
            used = self.usage[:, None] > torch.finfo(self.usage.dtype).tiny
            self.codebook.copy_(torch.where(used, self.sums / self.usage[:, None], self.codebook))
        self.idle.copy_(torch.where(self._dead(), self.idle + 1, 0))
        if self.revive_after:
            self._revive(vectors)

    def _sample(self, vectors: Tensor) -> Tensor:
        return gather_equal(vectors, max(_SAMPLES_PER_ENTRY * self.entries, _SMALLEST_SAMPLE))

    def _shares(self) -> Tensor:
        return self.usage / self.usage.sum().clamp(min=torch.finfo(self.usage.dtype).tiny)

    def _dead(self) -> Tensor:
        return self._shares() < _DEAD_SHARE / self.entries

    @torch.no_grad()
    def _start(self, vectors: Tensor) -> None:
        sample = self._sample(vectors)
        # Sums on a GPU may round differently in each process: the first one decides.
        self.codebook.copy_(broadcast_first(k_means(sample, self.entries)))
        self.started.fill_(True)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self._surely_started = False
        super()._load_from_state_dict(*args, **kwargs)

    def _revive(self, vectors: Tensor) -> None:
        """Gives entries that have waited a vector each, without a word between device and processor.

        The n-th of those that wait takes the sample's vector at place n P + u Q, P and Q primes beyond its length, u
        the number of updates: no two take the same, and no place is favoured.
        """
        candidates = self._sample(vectors).to(self.codebook.dtype)
        waiting = self.idle >= self.revive_after
        rank = waiting.cumsum(0) - 1
        revived = waiting & (rank < len(candidates))
        chosen = candidates[(rank * _STRIDE + self.updates * _SHIFT) % len(candidates)]
        self.codebook.copy_(torch.where(revived[:, None], chosen, self.codebook))
        self.idle.masked_fill_(revived, 0)
        if not self.learns_by_gradient:
            self.sums.copy_(torch.where(revived[:, None], chosen * self.usage[:, None], self.sums))
