"""Several workers find each other, and agree on what they train, before TensorFlow joins them.

TensorFlow waits for missing workers in silence, for ever, and deaf to signals. So worker 0 first
listens at its own address of TF_CONFIG and the others call it there, with lines of JSON. The
port is free again before TensorFlow takes it.
"""

import dataclasses
import json
import os
import select
import socket
import time
from collections.abc import Iterator, Mapping
from typing import Any, Self

from mspfn_tf.errors import UsageError, argument
from mspfn_tf.training.recipe import differences
from mspfn_tf.training.stopping import Stopped, StopReason

_TICK = 0.2  # seconds between looks at signals and the clock
_TELL = 60.0  # seconds between two lines about what is waited for
_LONGEST = 2**20  # bytes of a line


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The workers of a run, in their order, the chief first.

    Attributes:
        addresses: `host:port` of each.
        index: which of them this process is.
    """

    addresses: tuple[str, ...]
    index: int

    @classmethod
    def from_environment(cls) -> Self | None:
        """What TF_CONFIG says; None where it names no cluster.

        Raises:
            UsageError: it cannot be understood.
        """
        text = os.environ.get("TF_CONFIG") or "{}"
        try:
            config = json.loads(text)
            cluster = config.get("cluster") or {}
            if not cluster:
                return None
            chiefs = list(cluster.get("chief", []))
            task, index = config["task"]["type"], int(config["task"]["index"])
            addresses = (*chiefs, *cluster.get("worker", []))
            if task not in ("chief", "worker"):
                raise ValueError(f"a task of type {task!r}; there are chief and worker")
            position = index + (len(chiefs) if task == "worker" else 0)
            if not 0 <= position < len(addresses):
                raise ValueError(f"no {task} {index} in its cluster")
            for address in addresses:
                _split(address)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageError(
                f"TF_CONFIG {text}: {type(error).__name__} {error}; expected something like "
                '{"cluster": {"worker": ["a:2222", "b:2222"]}, '
                '"task": {"type": "worker", "index": 0}}'
            ) from error
        return cls(addresses, position)

    def name(self, index: int) -> str:
        return f"worker {index} ({self.addresses[index]})"


def gather(
    cluster: Cluster, agreement: Mapping[str, Any], minutes: float, stop: StopReason
) -> None:
    """Returns when all workers are there and train the same.

    Args:
        cluster: who they are.
        agreement: what must be the same on all, as JSON can hold it.
        minutes: how long to wait.
        stop: tells why to give up waiting; asked several times a second.

    Raises:
        UsageError: workers are missing after that time (they are named), or one has another
            agreement (the message shows the difference); all that are there then end.
        Stopped: `stop` said so.
    """
    wait = _Wait(cluster, minutes, stop)
    if cluster.index == 0:
        _receive(cluster, agreement, wait)
    else:
        _report(cluster, agreement, wait)


class _Wait:
    """Tells what is waited for, watches the clock and the signals."""

    def __init__(self, cluster: Cluster, minutes: float, stop: StopReason):
        self.cluster = cluster
        self.minutes = minutes
        self.stop = stop
        self.since = time.strftime("%H:%M:%S")
        self.began = time.monotonic()
        self._told: tuple[list[int], float] | None = None

    def check(self, missing: list[int]) -> None:
        names = ", ".join(self.cluster.name(index) for index in missing)
        now = time.monotonic()
        if reason := self.stop():
            raise Stopped(f"{reason}: stopped while waiting for {names}; nothing was trained")
        if now - self.began > 60 * self.minutes:
            raise UsageError(
                f"gave up after {self.minutes:g} minutes of waiting for {names}: start it, or allow"
                f" more, such as {argument('start_timeout', 2 * self.minutes)}. Every worker needs"
                " the same TF_CONFIG but for its own index"
            )
        if missing and (
            self._told is None or self._told[0] != missing or now - self._told[1] > _TELL
        ):
            print(
                f"{self.cluster.name(self.cluster.index)}: waiting for {names} since {self.since}, "
                f"for {self.minutes:g} minutes at most",
                flush=True,
            )
            self._told = (missing, now)


def _receive(cluster: Cluster, agreement: Mapping[str, Any], wait: _Wait) -> None:
    """Worker 0: waits for the calls of the others and answers all at the end."""
    calls: dict[int, _Line] = {}
    unknown: list[_Line] = []
    others = range(1, len(cluster.addresses))

    def missing() -> list[int]:
        return [index for index in others if index not in calls or calls[index].closed]

    def hear(line: _Line) -> None:
        for message in line.read():
            index = message.get("worker")
            if not isinstance(index, int) or index not in missing():
                line.send({"refused": f"worker {index} is there already, or in no TF_CONFIG"})
                line.close()
                return
            calls[index] = line
            _compare(agreement, message.get("agreement"), index)

    try:
        with _listen(cluster, wait) as listener:
            while missing():
                wait.check(missing())
                unknown = [line for line in unknown if not line.closed]
                lines = [*unknown, *(line for line in calls.values() if not line.closed)]
                for ready in select.select([listener, *lines], [], [], _TICK)[0]:
                    if isinstance(ready, _Line):
                        hear(ready)
                        unknown = [line for line in unknown if line not in calls.values()]
                    else:
                        unknown.append(_Line(listener.accept()[0]))
                for line in calls.values():
                    line.send({"missing": missing()})
        for line in calls.values():
            line.send({"go": True})
        for line in calls.values():  # let the others hang up first: their side keeps the old port
            line.wait_for_end()
    except (UsageError, Stopped) as error:
        for line in calls.values():
            line.send({"refused": f"worker 0 ended: {error}"})
        raise
    finally:
        for line in (*calls.values(), *unknown):
            line.close()


def _compare(agreement: Mapping[str, Any], theirs: Any, index: int) -> None:
    theirs = theirs if isinstance(theirs, dict) else {}
    ours = json.loads(json.dumps(agreement))
    different = differences(ours, theirs, ("on worker 0", f"on worker {index}"))
    if different:
        raise UsageError(
            f"worker {index} was started with another recipe than worker 0:\n"
            + "\n".join(different)
        )


def _report(cluster: Cluster, agreement: Mapping[str, Any], wait: _Wait) -> None:
    """Any other worker: calls worker 0 until it answers, then waits for its word."""
    while True:
        wait.check([0])
        try:
            connection = socket.create_connection(_split(cluster.addresses[0]), timeout=2.0)
        except OSError:  # it is not there yet; `wait` knows for how long it may be missing
            time.sleep(_TICK)
            continue
        line = _Line(connection)
        try:
            line.send({"worker": cluster.index, "agreement": agreement})
            missing: list[int] = [0]
            while not line.closed:
                wait.check(missing)
                if not select.select([line], [], [], _TICK)[0]:
                    continue
                for message in line.read():
                    if message.get("go"):
                        return
                    if "refused" in message:
                        raise UsageError(str(message["refused"]))
                    others = range(len(cluster.addresses))
                    missing = [index for index in message.get("missing", []) if index in others]
        finally:
            line.close()


def _listen(cluster: Cluster, wait: _Wait) -> socket.socket:
    _, port = _split(cluster.addresses[0])
    while True:
        try:
            return socket.create_server(("", port))
        except OSError as error:
            # A run that was just ended may hold it for another moment.
            if time.monotonic() - wait.began > min(30.0, 60 * wait.minutes):
                raise UsageError(f"cannot listen on port {port}: {error.strerror}") from error
            wait.check([0])
            time.sleep(_TICK)


class _Line:
    """A connection that carries JSON objects, one a line."""

    def __init__(self, connection: socket.socket):
        self._socket = connection
        self._socket.settimeout(2.0)
        self._buffer = b""
        self.closed = False

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, message: Mapping[str, Any]) -> None:
        if not self.closed:
            try:
                self._socket.sendall(json.dumps(message).encode() + b"\n")
            except OSError:  # the other end has gone, which `closed` says
                self.close()

    def read(self) -> Iterator[dict[str, Any]]:
        """What has come since; closes at the end, and at what is no JSON object."""
        try:
            data = self._socket.recv(2**16)
        except OSError:  # the same
            data = b""
        self._buffer += data
        *lines, self._buffer = self._buffer.split(b"\n")
        if not data or len(self._buffer) > _LONGEST:
            self.close()
        for line in lines:
            try:
                message = json.loads(line)
                if not isinstance(message, dict):
                    raise ValueError("not an object")
            except (ValueError, RecursionError):
                self.close()
                return
            yield message

    def wait_for_end(self) -> None:
        while not self.closed and select.select([self], [], [], 1.0)[0]:
            list(self.read())

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._socket.close()


def _split(address: str) -> tuple[str, int]:
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit():
        raise ValueError(f"{address!r} is not host:port")
    return host.strip("[]"), int(port)
