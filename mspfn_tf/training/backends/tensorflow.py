"""The training step on TensorFlow, under any `tf.distribute` strategy."""

import contextlib
import os
import signal
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np

from mspfn_tf.errors import UsageError
from mspfn_tf.training.backends.runner import Runner, clipped, global_norm
from mspfn_tf.training.stopping import StopReason
from mspfn_tf.training.workers import Cluster, gather


class TensorFlowRunner(Runner):
    """A `tf.function` around `strategy.run`; one device is the default strategy."""

    def __init__(self, strategy: str, deterministic: bool, workdir: str | os.PathLike | None):
        import tensorflow as tf

        # AddN sums three or more tensors in an order that depends on which of their buffers happen
        # to be free, so that equal steps would differ in the last bit. Gradients are therefore
        # added in pairs, and the graph optimizer must not gather additions into AddN.
        tf.config.optimizer.set_experimental_options({"arithmetic_optimization": False})
        if deterministic:
            tf.config.experimental.enable_op_determinism()
        self._name = strategy
        self._cluster = None
        if strategy in ("auto", "multi_worker"):
            self._cluster = Cluster.from_environment()
            if self._cluster is not None:
                self._name = "multi_worker"
                self.workers = len(self._cluster.addresses)
                self.chief = self._cluster.index == 0
            elif strategy == "multi_worker":
                raise UsageError("strategy multi_worker needs the environment variable TF_CONFIG")

    def connect(self, agreement: Mapping[str, Any], minutes: float, stop: StopReason) -> None:
        import tensorflow as tf

        if self._cluster is not None and self.workers > 1:
            gather(self._cluster, agreement, minutes, stop)
        with _ended_by_signals() if self._cluster else contextlib.nullcontext():
            self.strategy = _make_strategy(self._name)
        self.replicas = self.strategy.num_replicas_in_sync
        self.gpus = len(tf.config.list_logical_devices("GPU"))

    def scope(self) -> contextlib.AbstractContextManager:
        return self.strategy.scope()

    def _build(self):
        import tensorflow as tf

        share = self.batch_size // self.workers
        worker = self._cluster.index if self._cluster else 0
        self.rows = slice(worker * share, (worker + 1) * share)

        def replica_step(rainy, clean, *labels):
            variables = self.model.trainable_variables
            taught = None if self.teacher is None else self.teacher(rainy, training=False)
            derained = self.model(rainy, training=True)
            loss, logs = self._measures(derained, clean, taught, *labels)
            gradients = tf.gradients(
                loss,
                [variable.value for variable in variables],
                aggregation_method=tf.AggregationMethod.EXPERIMENTAL_TREE,
            )
            if self.replicas > 1:
                # Keras clips before it adds up the replicas' gradients, so both are done here.
                context = tf.distribute.get_replica_context()
                gradients = context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
            norm = global_norm(gradients)
            gradients = clipped(gradients, norm, self.clip_norm)
            if self.replicas > 1:
                # The optimizer adds up once more what are by now equal gradients.
                gradients = [gradient / self.replicas for gradient in gradients]
            self.optimizer.apply(gradients, variables)
            return {"loss": loss, **logs, "gradient_norm": norm / self.replicas}

        @tf.function(autograph=False)
        def step(*batch):
            logs = self.strategy.run(replica_step, batch)
            total = tf.distribute.ReduceOp.SUM
            return {name: self.strategy.reduce(total, x, axis=None) for name, x in logs.items()}

        @tf.function(autograph=False)
        def any_worker(flag):
            flags = self.strategy.run(tf.identity, (flag,))
            return self.strategy.reduce(tf.distribute.ReduceOp.SUM, flags, axis=None) > 0

        self._step = step
        self._any = lambda flag: any_worker(tf.constant(flag))
        self._predict = tf.function(lambda x: self.model(x, training=False), autograph=False)

    def _place(self, arrays, first_row):
        import tensorflow as tf

        count = self.batch_size // self.replicas

        def distributed(array):
            def of_replica(context):
                row = context.replica_id_in_sync_group * count - first_row
                return tf.convert_to_tensor(array[row : row + count])

            return self.strategy.experimental_distribute_values_from_function(of_replica)

        return tuple(distributed(array) for array in arrays)

    def train_step(self, batch: Any) -> dict[str, Any]:
        return self._step(*batch)

    def to_numpy(self, variable: keras.Variable) -> np.ndarray:
        return variable.value.numpy()  # also of a variable that is mirrored on several devices

    def any_worker(self, flag: bool) -> bool:
        return bool(self._any(float(flag)))

    def predict(self, rainy: np.ndarray) -> np.ndarray:
        return self._predict(rainy).numpy()


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Within it SIGTERM and Ctrl-C end the process: TensorFlow connects deaf to Python's handlers.

    Nothing has been trained that could be lost. TensorFlow sets handlers of its own on the way.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        for number in before:
            signal.signal(number, signal.SIG_DFL)
    except ValueError:  # not the main thread, which alone may set them
        before = {}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)


def _make_strategy(name):
    import tensorflow as tf

    if name == "auto":
        if os.environ.get("TPU_NAME"):
            name = "tpu"
        else:
            gpus = tf.config.list_logical_devices("GPU")
            name = "mirrored" if len(gpus) > 1 else "one_device"
    if name == "one_device":
        return tf.distribute.get_strategy()
    if name == "mirrored":
        gpus = tf.config.list_logical_devices("GPU")
        devices = gpus or tf.config.list_logical_devices("CPU")
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    if name == "multi_worker":
        return tf.distribute.MultiWorkerMirroredStrategy()
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(
            os.environ.get("TPU_NAME", "local")
        )
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except (ValueError, RuntimeError, tf.errors.OpError) as error:
        raise UsageError(f"strategy tpu: no TPU found ({error}); set TPU_NAME") from error
    return tf.distribute.TPUStrategy(resolver)
