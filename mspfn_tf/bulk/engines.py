"""Two ways of handing batches to workers: on Ray Data, and in a loop of this process."""

import contextlib
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from mspfn_tf.errors import UsageError, argument
from mspfn_tf.quiet import native_quiet

OBJECT_STORE = 128 * 2**20
"""Bytes of the object store of a local cluster. Rows hold no pictures, so that it need not grow."""
_BLOCK_BATCHES = 64  # at most so many batches are one task
_TASKS_PER_ACTOR = 8  # at least so many, where there are enough batches, so that none waits long
_STARTS = 3  # Ray gives a machine 30 seconds to start, which a busy one may exceed
# Ray reads these when it is imported or started.
_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",  # they would be sent over the network
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_DATA_LOG_LEVEL": "ERROR",
}


@dataclass(frozen=True)
class Cluster:
    """Where the workers run.

    Attributes:
        actors: how many; None for as many as there are cores and graphics cards for.
        threads: processor cores that each takes.
        gpus: graphics cards that each takes, also a part of one.
        address: of a running Ray cluster ("auto" for the one of this machine); None to start one on
            this machine and end it afterwards.
    """

    actors: int | None = None
    threads: int = 1
    gpus: float = 0.0
    address: str | None = None

    def size(self, cores: float, cards: float) -> int:
        """How many actors there are where there is so much room for them."""
        fit = cores // self.threads
        if self.gpus:
            fit = min(fit, cards // self.gpus)
        return self.actors or max(1, int(fit))


def in_loop(
    rows: pa.Table, worker: type, arguments: tuple, batch_rows: int
) -> Iterator[dict[str, Any]]:
    """Yields the rows that a worker returns, batch after batch, in this process."""
    work = worker(*arguments)
    for first in range(0, rows.num_rows, batch_rows):
        yield from work(rows.slice(first, batch_rows)).to_pylist()


def on_ray(
    rows: pa.Table, worker: type, arguments: tuple, batch_rows: int, cluster: Cluster
) -> Iterator[dict[str, Any]]:
    """Yields the rows that a pool of actors returns, in no fixed order.

    An actor that dies is started again, and gets its rows again.

    Args:
        rows: what is to be done.
        worker: a class whose instances make a table of a table; each actor has one.
        arguments: of the class.
        batch_rows: rows that a worker gets at a time.
        cluster: where.

    Raises:
        UsageError: Ray is not installed, no cluster answers, it has no room for the actors, or a
            worker raised one.
    """
    ray = _import_ray()
    with _started(ray, cluster):
        _check_room(ray, cluster)
        from ray.data import ActorPoolStrategy, DataContext

        context = DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        resources = ray.cluster_resources()
        actors = cluster.size(resources.get("CPU", 0), resources.get("GPU", 0))
        step = batch_rows * _batches_a_task(rows.num_rows, batch_rows, actors)
        # Small copies: a slice would take its whole table to the object store.
        blocks = [
            pa.Table.from_pylist(rows.slice(first, step).to_pylist(), rows.schema)
            for first in range(0, rows.num_rows, step)
        ]
        done = ray.data.from_arrow(blocks).map_batches(
            worker,
            fn_constructor_args=arguments,
            batch_size=batch_rows,
            batch_format="pyarrow",
            compute=ActorPoolStrategy(size=min(actors, len(blocks))),
            num_cpus=cluster.threads,
            num_gpus=cluster.gpus or None,
        )
        try:
            for block in done.iter_batches(
                batch_size=None, batch_format="pyarrow", prefetch_batches=0
            ):
                yield from block.to_pylist()
        except ray.exceptions.RayError as error:
            raise _cause(error) from error


def _import_ray():
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        import ray
        import ray.data
        import ray.exceptions
    except ImportError as error:
        raise UsageError(
            f'bulk needs Ray: pip install "mspfn_tf[ray]", or work without it: {argument("local")} '
            f"({error})"
        ) from error
    return ray


@contextlib.contextmanager
def _started(ray, cluster):
    if ray.is_initialized():  # by who called this
        yield
        return
    options = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
    if cluster.address is None:
        options["object_store_memory"] = OBJECT_STORE
        # Actors that were asked for are started, also if they are more than there are cores.
        cores = len(os.sched_getaffinity(0))
        options["num_cpus"] = max(cores, (cluster.actors or 1) * cluster.threads)
    else:
        _check_answers(cluster.address)
        options["address"] = cluster.address
        del options["include_dashboard"]
    _start(ray, options, 1 if cluster.address else _STARTS)
    try:
        yield
    finally:
        ray.shutdown()


def _check_answers(address):
    """Ray itself would knock for minutes."""
    host, _, port = address.rpartition(":")
    if "://" in address or not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except OSError as error:
        raise UsageError(f"no Ray cluster at {address}: {error}") from error


def _start(ray, options, tries):
    for left in reversed(range(tries)):
        try:
            with native_quiet():
                ray.init(**options)
            return
        except Exception as error:  # Ray raises all kinds, also plain ones
            ray.shutdown()
            if not left:
                where = f"at {options['address']}" if "address" in options else "on this machine"
                raise UsageError(f"no Ray cluster {where}: {error}") from error


def _check_room(ray, cluster):
    """Ray would wait for ever for what no machine has."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    fits = any(
        node.get("CPU", 0) >= cluster.threads and node.get("GPU", 0) >= cluster.gpus
        for node in nodes
    )
    if not fits:
        cards = f" and {cluster.gpus} graphics cards" if cluster.gpus else ""
        raise UsageError(
            f"no machine of the cluster has {cluster.threads} cores{cards} for an actor"
        )


def _batches_a_task(rows, batch_rows, actors):
    batches = -(-rows // batch_rows)
    return max(1, min(_BLOCK_BATCHES, batches // (actors * _TASKS_PER_ACTOR)))


def _cause(error):
    """The `UsageError` that a worker raised, or one that tells what it did raise."""
    found, seen = error, set()
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        if isinstance(found, UsageError):
            return UsageError(str(found.args[0]) if found.args else str(found))
        found = getattr(found, "cause", None) or found.__cause__
    lines = str(error).strip().splitlines()
    return UsageError(f"a worker failed: {lines[-1] if lines else type(error).__name__}")
