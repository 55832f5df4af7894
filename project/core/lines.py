"""A line of the batch script and where it comes from. Pure."""

from typing import TYPE_CHECKING, Any, Callable, Iterator, List, Mapping, NamedTuple, Sequence, Tuple

from project.core.errors import UserError
from project.core.resources import KEYS, Resources

if TYPE_CHECKING:
    from project.core.jobspec import JobSpec

# What jobferry itself needs, whatever the job.
OURS = "jobferry"

Asking = Callable[["JobSpec", Mapping[str, Any]], List[str]]
Variant = Tuple[str, "JobSpec", Mapping[str, Any]]


class Line(NamedTuple):
    """One piece of the script: `text` without its line end (a shell line of the user's may have line breaks in it).

    `origin` is the input's key (`resources.duration`, `execution[0]`), `cluster NAME: partition`, `profile.modules` or OURS.
    """

    text: str
    origin: str = OURS


def ours(text: str) -> List[Line]:
    """Every line of a text of ours."""
    return [Line(line) for line in text.strip("\n").split("\n")]


def explained(ask: Asking, spec: "JobSpec", cluster: Mapping[str, Any], site_options: Sequence[str] = ()) -> List[Line]:
    """Lines that a workload manager makes of a job, each with the keys without which it would not stand there as it does.

    It is asked again without each key in turn, so no manager need tell which line comes from where.

    :param ask: the lines of a job on a cluster (`Scheduler.directives`, `preamble`).
    :param site_options: those at the head of `spec.scheduler_options` that are the cluster's (`profile.options`).
    """
    found = ask(spec, cluster)
    origins: List[List[str]] = [[] for _ in found]
    for key, other, place in _variants(spec, cluster, len(site_options)):
        try:
            without = ask(other, place)
        except UserError:
            # It cannot be left out alone; which line says it stays open.
            continue
        for number, line in enumerate(found):
            if line in without:
                without.remove(line)
            else:
                origins[number].append(key)
    return [Line(text, ", ".join(keys) or OURS) for text, keys in zip(found, origins)]


def _variants(spec: "JobSpec", cluster: Mapping[str, Any], site: int) -> Iterator[Variant]:
    nothing = Resources()
    for name in spec.resources.asked():
        less = spec.resources._replace(**{name: getattr(nothing, name)})
        yield "resources." + KEYS.get(name, name), spec._replace(resources=less), cluster
    if spec.name:
        yield "name", spec._replace(name=""), cluster
    if cluster.get("partition"):
        key = "cluster {}: partition".format(cluster.get("name", ""))
        yield key, spec, {name: value for name, value in cluster.items() if name != "partition"}
    for number in range(len(spec.scheduler_options)):
        key = "profile.options[{}]".format(number) if number < site else "scheduler_options[{}]".format(number - site)
        rest = spec.scheduler_options[:number] + spec.scheduler_options[number + 1 :]
        yield key, spec._replace(scheduler_options=rest), cluster
