"""Defences that compress, as NVFlare filters, with error feedback on disk."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from nvflare.apis.fl_context import FLContext

from medleak.filters import storage
from medleak.filters.adapters.defence import DefenceFilter
from medleak.filters.adapters.rim import global_model, state_folder
from medleak.filters.defences import quantisation, random_k, sign, top_k
from medleak.filters.defences.error_feedback import compress_with_feedback
from medleak.filters.noise import NoiseSource
from medleak.filters.registry import Defence
from medleak.filters.update import Buffers, UpdateError

STATE_DIR = "medleak_state"


class CompressionFilter(DefenceFilter):
    """A compressing defence, with error feedback if asked for.

    The feedback is kept in ``state_dir`` (relative to the site's own folder), one file a round, the
    last two of them: a round that is repeated after a crash starts from the feedback it started
    from before.
    """

    def __init__(
        self,
        defence: Defence,
        *,
        error_feedback: bool,
        state_dir: str,
        tasks: Sequence[str],
        seed: int | None = None,
    ) -> None:
        """Take the defence that a subclass built from its arguments."""
        super().__init__(defence, tasks=tasks, seed=seed)
        if error_feedback and getattr(defence, "rescale", False):
            raise ValueError("random_k must not rescale under error feedback: set rescale=false.")
        self.error_feedback, self.state_dir = error_feedback, state_dir

    def apply(
        self,
        update: Mapping[str, Any],
        *,
        rng: NoiseSource,
        state: Mapping[str, Any],
        fl_ctx: FLContext,
    ) -> Mapping[str, Any]:
        """Compress, adding and keeping the feedback."""
        if not self.error_feedback:
            return super().apply(update, rng=rng, state=state, fl_ctx=fl_ctx)
        _, round_number = global_model(fl_ctx)
        if round_number is None:
            raise UpdateError(
                "The task carries no round number, without which error feedback cannot tell a "
                "repeated round from the next. Set error_feedback to false."
            )
        folder = state_folder(self.state_dir, fl_ctx) / f"error_feedback_{self._defence.name}"
        memory = storage.before_round(folder, round_number)
        sent, left = compress_with_feedback(
            self._defence, update, memory, rng=rng, global_state=state
        )
        storage.save_round(folder, round_number, left)
        return sent


class TopK(CompressionFilter):
    """:class:`medleak.filters.defences.top_k.TopK` as a filter. ε: none."""

    _always_serialize_args: ClassVar = ("fraction", "buffers", "error_feedback", "tasks")

    def __init__(
        self,
        fraction: float,
        buffers: Buffers = "noise",
        error_feedback: bool = False,
        state_dir: str = STATE_DIR,
        tasks: Sequence[str] = ("train",),
    ) -> None:
        """Take the defence's parameters, error feedback, and the protected tasks."""
        self.fraction, self.buffers = fraction, buffers
        used = top_k.TopK(fraction=fraction, buffers=buffers)
        super().__init__(used, error_feedback=error_feedback, state_dir=state_dir, tasks=tasks)


class RandomK(CompressionFilter):
    """:class:`medleak.filters.defences.random_k.RandomK` as a filter. ε: none."""

    _always_serialize_args: ClassVar = (
        *("fraction", "rescale", "buffers", "error_feedback", "tasks"),
    )

    def __init__(
        self,
        fraction: float,
        rescale: bool = False,
        buffers: Buffers = "noise",
        error_feedback: bool = False,
        state_dir: str = STATE_DIR,
        tasks: Sequence[str] = ("train",),
        seed: int | None = None,
    ) -> None:
        """Take the defence's parameters, error feedback, the tasks, and (tests only) a seed."""
        self.fraction, self.rescale, self.buffers = fraction, rescale, buffers
        used = random_k.RandomK(fraction=fraction, rescale=rescale, buffers=buffers)
        super().__init__(
            used, error_feedback=error_feedback, state_dir=state_dir, tasks=tasks, seed=seed
        )


class Sign(CompressionFilter):
    """:class:`medleak.filters.defences.sign.Sign` as a filter. ε: none."""

    _always_serialize_args: ClassVar = ("buffers", "error_feedback", "tasks")

    def __init__(
        self,
        buffers: Buffers = "noise",
        error_feedback: bool = False,
        state_dir: str = STATE_DIR,
        tasks: Sequence[str] = ("train",),
    ) -> None:
        """Take the defence's parameters, error feedback, and the protected tasks."""
        self.buffers = buffers
        used = sign.Sign(buffers=buffers)
        super().__init__(used, error_feedback=error_feedback, state_dir=state_dir, tasks=tasks)


class Quantisation(CompressionFilter):
    """:class:`medleak.filters.defences.quantisation.Quantisation` as a filter. ε: none."""

    _always_serialize_args: ClassVar = ("bits", "buffers", "error_feedback", "tasks")

    def __init__(
        self,
        bits: int,
        buffers: Buffers = "noise",
        error_feedback: bool = False,
        state_dir: str = STATE_DIR,
        tasks: Sequence[str] = ("train",),
        seed: int | None = None,
    ) -> None:
        """Take the defence's parameters, error feedback, the tasks, and (tests only) a seed."""
        self.bits, self.buffers = bits, buffers
        used = quantisation.Quantisation(bits=bits, buffers=buffers)
        super().__init__(
            used, error_feedback=error_feedback, state_dir=state_dir, tasks=tasks, seed=seed
        )
