"""A site's own minimum of images, in a step and in a round: one image alone is what leaks most."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from nvflare.apis.filter import ContentBlockedException, Filter
from nvflare.apis.fl_constant import FLContextKey
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable

from medleak.filters import checks
from medleak.filters.adapters.rim import FailClosedFilter
from medleak.filters.adapters.schema import SCHEDULE
from medleak.filters.update import UpdateError

_OPTION, _TABLE = "--batch_size", "--table"


class MinimumBatch(FailClosedFilter):
    """Keep an update of too few images at home. For ``task_result_filters``.

    *Before* filters with an ε, which hide the schedule: refuses an update whose declared schedule
    has a step or a round of fewer images, or that declares none. The last step of an epoch counts:
    65 images in batches of 64 are a step of one. This trusts the training script; a site that does
    not must forbid scripts of others (docs/deploy.md). :class:`PlannedBatch` refuses before
    training what a job says beforehand.

    Args:
        step: Least number of images of a step.
        round: Least number of different images of a round.
        tasks: Protected tasks.
    """

    _always_serialize_args: ClassVar = ("step", "round", "tasks")

    def __init__(self, step: int = 8, round: int = 32, tasks: Sequence[str] = ("train",)) -> None:
        """Take the two minima."""
        super().__init__(tasks)
        checks.require_whole("step", step, 1, 10**6, "a step has some images.")
        checks.require_whole("round", round, 1, 10**9, "a round has some images.")
        self.step, self.round = step, round

    def protect(
        self, update: Mapping[str, Any], meta: dict[str, Any], fl_ctx: FLContext
    ) -> Mapping[str, Any]:
        """The update as it is, or ``UpdateError``."""
        check_schedule(meta.get(SCHEDULE), self.step, self.round)
        return update


class PlannedBatch(Filter):
    """Refuse a task, before training, whose job says too small a step. For ``task_data_filters``.

    Reads ``--batch_size`` of the arguments of every executor of the job, or else the site's own row
    of ``--table`` (``name:batch_size:...``, as our jobs have it). Of several the smallest counts,
    and one that cannot be read is refused. A job that says it nowhere there is let through to be
    judged by :class:`MinimumBatch`.

    Args:
        step: Least number of images of a step.
    """

    _always_serialize_args: ClassVar = ("step",)

    def __init__(self, step: int = 8) -> None:
        """Take the minimum."""
        super().__init__()
        checks.require_whole("step", step, 1, 10**6, "a step has some images.")
        self.step = step

    def process(self, shareable: Shareable, fl_ctx: FLContext) -> Shareable:
        """Let the task through, or raise ``ContentBlockedException`` with the reason."""
        try:
            self._check_job(fl_ctx)
        except Exception as e:
            self.log_error(fl_ctx, f"task refused: {e}", fire_event=False)
            raise ContentBlockedException(f"PlannedBatch refused the task: {e}") from e
        return shareable

    def _check_job(self, fl_ctx: FLContext) -> None:
        runner: Any = fl_ctx.get_prop(FLContextKey.RUNNER)
        table = getattr(getattr(runner, "task_router", None), "task_table", None)
        if table is None:
            raise UpdateError("What the job runs cannot be seen, so its steps are not known.")
        site = str(fl_ctx.get_identity_name())
        said = [size for executor in table.values() for size in _batch_sizes(executor, site)]
        if said and min(said) < self.step:
            raise UpdateError(
                f"The job trains on {min(said)} images a step, and this site on {self.step} at "
                "least: an update of few images shows them. Raise --batch_size."
            )


def check_schedule(schedule: object, step: int, round: int) -> None:
    """Raise ``UpdateError`` unless ``schedule`` has ``step`` images a step and ``round`` in all."""
    told = schedule if isinstance(schedule, dict) else {}
    images, batch = told.get("n_images"), told.get("batch_size")
    if type(images) is not int or type(batch) is not int or min(images, batch) < 1:
        raise UpdateError(
            f"The training script does not say on how many images it trained ({SCHEDULE} in the "
            "metadata), so that a minimum cannot be kept. List MinimumBatch before filters with a "
            "guarantee, or use a script that declares n_images and batch_size."
        )
    least = images % batch or min(batch, images)
    if images < round:
        raise UpdateError(f"The round had {images} images, this site's minimum is {round}.")
    if least < step:
        raise UpdateError(
            f"A step had {least} images ({images} in batches of {batch}), this site's minimum is "
            f"{step}: drop the last batch, or choose another size."
        )


def _batch_sizes(executor: object, site: str) -> list[int]:
    """Every batch size that an executor's arguments name for ``site``, whatever way they are split.

    NVFlare's executor keeps its arguments under a name of its own.
    """
    found: list[int] = []
    for name in ("task_script_args", "_task_script_args", "command", "_command"):
        said = getattr(executor, name, None)
        text = " ".join(map(str, said)) if isinstance(said, list | tuple) else said
        if isinstance(text, str):
            for words in (text.split(), shlex.split(text)):
                found += _sizes(words) or _of_table(words, site)
    return found


def _sizes(words: Sequence[str]) -> list[int]:
    sizes = []
    for text in _values(words, _OPTION):
        try:
            sizes.append(int(text))
        except ValueError:
            raise UpdateError(
                f"The job's {_OPTION} is {text[:40]!r}, which cannot be read, so that its steps "
                "are not known. Give a whole number."
            ) from None
    return sizes


def _of_table(words: Sequence[str], site: str) -> list[int]:
    rows = [row.split(":") for text in _values(words, _TABLE) for row in text.split(",")]
    return _sizes([w for name, *rest in rows if name == site for w in (_OPTION, *rest[:1])])


def _values(words: Sequence[str], option: str) -> Iterator[str]:
    """What is given to ``option``, each time; argparse takes abbreviations, others hyphens."""
    for i, word in enumerate(words):
        name, equals, value = word.partition("=")
        name = f"--{name[2:].replace('-', '_')}" if name.startswith("--") else name
        if len(name) > 2 and name.startswith("--") and option.startswith(name):
            yield value if equals else words[i + 1] if i + 1 < len(words) else ""
