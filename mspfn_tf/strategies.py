"""One training step on every backend: TensorFlow under any strategy, JAX, PyTorch.

Each class offers the same: `scope()` for making variables, `compile(...)`, `batches(...)`,
`place(rainy, clean)` for a given global batch, `train_step(batch)` and `predict(rainy)`. The loss
is always the mean over the *global* batch, and gradients are clipped by the norm of the whole,
summed gradient, so that the number of devices does not show in the results.
"""

import contextlib
import json
import math
import os
from pathlib import Path

import keras
import numpy as np
from keras import ops

from mspfn_tf.errors import UsageError
from mspfn_tf.input_pipeline import read_ahead


def make_runner(strategy, deterministic=False, workdir=None):
    """The runner of the active Keras backend for a value of `--strategy`.

    `auto` on TensorFlow: several workers if TF_CONFIG names them, else a TPU if TPU_NAME is set,
    else all GPUs if there are several, else one device. On JAX: all devices of the process.

    Raises:
        UsageError: a strategy that this backend or machine does not have.
    """
    backend = keras.backend.backend()
    runners = {"tensorflow": TensorFlowRunner, "jax": JaxRunner, "torch": TorchRunner}
    if backend not in runners:
        raise UsageError(f"KERAS_BACKEND={backend} cannot train: use {', '.join(runners)}")
    return runners[backend](strategy, deterministic, workdir)


def global_norm(gradients):
    """Euclidean norm of all gradients together."""
    return ops.sqrt(sum(ops.sum(ops.square(gradient)) for gradient in gradients))


def _clipped(gradients, norm, limit):
    if not limit:
        return gradients
    scale = ops.minimum(1.0, limit / ops.maximum(norm, 1e-12))
    return [gradient * scale for gradient in gradients]


class _Runner:
    """What the runners share. `replicas`: devices of all workers; `chief`: this process writes."""

    replicas = 1
    workers = 1
    chief = True

    def scope(self):
        """Context in which the variables of model and optimizer are made."""
        return contextlib.nullcontext()

    def check_batch_size(self, batch_size):
        """Raises `UsageError` if the replicas cannot share a batch evenly."""
        if batch_size % self.replicas:
            raise UsageError(
                f"--batch_size {batch_size} must be divisible by the {self.replicas} replicas"
            )

    def compile(
        self, model, optimizer, batch_size, loss, clip_norm=0.0, teacher=None, teacher_weight=0.0
    ):
        """Prepares `train_step`.

        Args:
            model: the network.
            optimizer: its Keras optimizer, built.
            batch_size: size of the global batch.
            loss: Keras loss whose `call` gives one value per example.
            clip_norm: largest norm of the gradient; 0: no clipping.
            teacher: network whose output is learnt too, or None.
            teacher_weight: share of that in the loss, 0..1.
        """
        self.check_batch_size(batch_size)
        self.model, self.optimizer, self.teacher = model, optimizer, teacher
        self.batch_size, self.loss, self.clip_norm = batch_size, loss, clip_norm
        self.teacher_weight = teacher_weight
        self._build()

    def _measures(self, derained, clean, taught):
        """Loss, and RGB PSNR (dB) of the clipped output, of these rows as parts of the mean."""
        losses = self.loss.call(clean, derained)
        if taught is not None:
            share = self.teacher_weight
            losses = (1 - share) * losses + share * self.loss.call(taught, derained)
        error = ops.mean(ops.square(ops.clip(derained, 0.0, 1.0) - clean), axis=(1, 2, 3))
        psnr = (-10.0 / math.log(10.0)) * ops.log(ops.maximum(error, 1e-10))
        return ops.sum(losses) / self.batch_size, ops.sum(psnr) / self.batch_size

    def any_worker(self, flag):
        """Whether `flag` is true on any of the workers."""
        return flag

    def write_back(self):
        """Brings the Keras variables up to date with the training."""

    def to_numpy(self, variable):
        """The value of a Keras variable."""
        return ops.convert_to_numpy(variable)

    def read_back(self):
        """Takes over Keras variables that were assigned from outside."""

    rows = slice(None)
    """The rows of the global batch that this process takes."""

    def batches(self, stream, start, stop, patch_size, threads):
        """Yields the batches start .. stop - 1 of a `PatchStream`, ready for `train_step`."""
        for rainy, clean in read_ahead(stream, start, stop, patch_size, self.rows, threads):
            yield self._place(rainy, clean, self.rows.start or 0)

    def place(self, rainy, clean):
        """A given global batch, made ready for `train_step`."""
        return self._place(rainy, clean, 0)


class TensorFlowRunner(_Runner):
    """A `tf.function` around `strategy.run`; one device is the default strategy."""

    def __init__(self, strategy, deterministic, workdir):
        import tensorflow as tf

        # AddN sums three or more tensors in an order that depends on which of their buffers happen
        # to be free, so that equal steps would differ in the last bit. Gradients are therefore
        # added in pairs, and the graph optimizer must not gather additions into AddN.
        tf.config.optimizer.set_experimental_options({"arithmetic_optimization": False})
        if deterministic:
            tf.config.experimental.enable_op_determinism()
        self.strategy = _tf_strategy(strategy)
        self.replicas = self.strategy.num_replicas_in_sync
        resolver = self.strategy.cluster_resolver
        self._worker = 0
        if resolver is not None and resolver.task_type in ("chief", "worker"):
            cluster = resolver.cluster_spec().as_dict()
            chiefs = len(cluster.get("chief", []))
            self.workers = chiefs + len(cluster.get("worker", []))
            self._worker = resolver.task_id + (chiefs if resolver.task_type == "worker" else 0)
            self.chief = self._worker == 0

    def scope(self):
        return self.strategy.scope()

    def _build(self):
        import tensorflow as tf

        share = self.batch_size // self.workers
        self.rows = slice(self._worker * share, (self._worker + 1) * share)

        def replica_step(rainy, clean):
            variables = self.model.trainable_variables
            taught = None if self.teacher is None else self.teacher(rainy, training=False)
            derained = self.model(rainy, training=True)
            loss, psnr = self._measures(derained, clean, taught)
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
            gradients = _clipped(gradients, norm, self.clip_norm)
            if self.replicas > 1:
                # The optimizer adds up once more what are by now equal gradients.
                gradients = [gradient / self.replicas for gradient in gradients]
            self.optimizer.apply(gradients, variables)
            return {"loss": loss, "psnr": psnr, "gradient_norm": norm / self.replicas}

        @tf.function(autograph=False)
        def step(rainy, clean):
            logs = self.strategy.run(replica_step, (rainy, clean))
            total = tf.distribute.ReduceOp.SUM
            return {name: self.strategy.reduce(total, x, axis=None) for name, x in logs.items()}

        @tf.function(autograph=False)
        def any_worker(flag):
            flags = self.strategy.run(tf.identity, (flag,))
            return self.strategy.reduce(tf.distribute.ReduceOp.SUM, flags, axis=None) > 0

        self._step = step
        self._any = lambda flag: any_worker(tf.constant(flag))
        self._predict = tf.function(lambda x: self.model(x, training=False), autograph=False)

    def _place(self, rainy, clean, first_row):
        import tensorflow as tf

        count = self.batch_size // self.replicas

        def distributed(images):
            def of_replica(context):
                row = context.replica_id_in_sync_group * count - first_row
                return tf.convert_to_tensor(images[row : row + count])

            return self.strategy.experimental_distribute_values_from_function(of_replica)

        return distributed(rainy), distributed(clean)

    def train_step(self, batch):
        return self._step(*batch)

    def to_numpy(self, variable):
        return variable.value.numpy()  # also of a variable that is mirrored on several devices

    def any_worker(self, flag):
        return bool(self._any(float(flag)))

    def predict(self, rainy):
        return self._predict(rainy).numpy()


def _tf_strategy(name):
    import tensorflow as tf

    gpus = tf.config.list_logical_devices("GPU") if name in ("mirrored", "one_device") else []
    if name == "auto":
        if json.loads(os.environ.get("TF_CONFIG") or "{}").get("cluster"):
            name = "multi_worker"
        elif os.environ.get("TPU_NAME"):
            name = "tpu"
        else:
            gpus = tf.config.list_logical_devices("GPU")
            name = "mirrored" if len(gpus) > 1 else "one_device"
    if name == "one_device":
        return tf.distribute.get_strategy()
    if name == "mirrored":
        devices = gpus or tf.config.list_logical_devices("CPU")
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    if name == "multi_worker":
        if not os.environ.get("TF_CONFIG"):
            raise UsageError("--strategy multi_worker needs the environment variable TF_CONFIG")
        return tf.distribute.MultiWorkerMirroredStrategy()
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(
            os.environ.get("TPU_NAME", "local")
        )
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except (ValueError, RuntimeError, tf.errors.OpError) as error:
        raise UsageError(f"--strategy tpu: no TPU found ({error}); set TPU_NAME") from error
    return tf.distribute.TPUStrategy(resolver)


class JaxRunner(_Runner):
    """One `jax.jit` function over all devices of the process, the batch split between them."""

    def __init__(self, strategy, deterministic, workdir):
        import jax

        if strategy not in ("auto", "one_device", "mirrored"):
            raise UsageError(f"--strategy {strategy} needs the TensorFlow backend; on JAX use auto")
        if deterministic and jax.default_backend() == "gpu":
            raise UsageError(
                "--deterministic on JAX: set XLA_FLAGS=--xla_gpu_deterministic_ops=true instead"
            )
        if workdir is not None:
            # What took minutes to compile is found again when the run resumes.
            jax.config.update(
                "jax_compilation_cache_dir", str(Path(workdir).resolve() / "jax_cache")
            )
        devices = jax.devices()[:1] if strategy == "one_device" else jax.devices()
        self.replicas = len(devices)
        self._distribution = None
        if self.replicas > 1:
            self._distribution = keras.distribution.DataParallel(devices=devices)
            keras.distribution.set_distribution(self._distribution)

    def _build(self):
        import jax

        def loss_of(trainable, fixed, rainy, clean, taught):
            derained, fixed = self.model.stateless_call(trainable, fixed, rainy, training=True)
            loss, psnr = self._measures(derained, clean, taught)
            return loss, (psnr, fixed)

        def step(trainable, fixed, slots, teacher_state, rainy, clean):
            taught = None
            if self.teacher is not None:
                taught, _ = self.teacher.stateless_call(*teacher_state, rainy, training=False)
            gradient_of = jax.value_and_grad(loss_of, has_aux=True)
            (loss, (psnr, fixed)), gradients = gradient_of(trainable, fixed, rainy, clean, taught)
            norm = global_norm(gradients)
            gradients = _clipped(gradients, norm, self.clip_norm)
            trainable, slots = self.optimizer.stateless_apply(slots, gradients, trainable)
            return (trainable, fixed, slots), {
                "loss": loss,
                "psnr": psnr,
                "gradient_norm": norm,
            }

        def predict(trainable, fixed, rainy):
            return self.model.stateless_call(trainable, fixed, rainy, training=False)[0]

        self._step = jax.jit(step, donate_argnums=(0, 1, 2))
        self._predict = jax.jit(predict)
        # An argument of the step: as constants, the weights would be compiled into it.
        self._teacher_state = None
        if self.teacher is not None:
            groups = self.teacher.trainable_variables, self.teacher.non_trainable_variables
            self._teacher_state = [[v.value for v in group] for group in groups]
        self.read_back()

    def _variables(self):
        model = self.model
        return (
            model.trainable_variables,
            model.non_trainable_variables,
            self.optimizer.variables,
        )

    def write_back(self):
        for variables, values in zip(self._variables(), self._state, strict=True):
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)

    def read_back(self):
        # Copies: the step gives its arguments' memory away.
        self._state = tuple([ops.copy(v.value) for v in group] for group in self._variables())

    def _place(self, rainy, clean, first_row):
        if self._distribution is None:
            return ops.convert_to_tensor(rainy), ops.convert_to_tensor(clean)
        layout = self._distribution.get_data_layout(rainy.shape)
        return tuple(keras.distribution.distribute_tensor(x, layout) for x in (rainy, clean))

    def train_step(self, batch):
        self._state, logs = self._step(*self._state, self._teacher_state, *batch)
        return logs

    def predict(self, rainy):
        groups = self._variables()[:2]
        return np.asarray(self._predict(*[[v.value for v in group] for group in groups], rainy))


class TorchRunner(_Runner):
    """Plain PyTorch on one device."""

    def __init__(self, strategy, deterministic, workdir):
        import torch

        if strategy not in ("auto", "one_device"):
            raise UsageError(f"--strategy {strategy} needs the TensorFlow or the JAX backend")
        torch.use_deterministic_algorithms(deterministic)

    def _build(self):
        pass

    def _place(self, rainy, clean, first_row):
        return ops.convert_to_tensor(rainy), ops.convert_to_tensor(clean)

    def train_step(self, batch):
        import torch

        rainy, clean = batch
        taught = None
        if self.teacher is not None:
            with torch.no_grad():
                taught = self.teacher(rainy, training=False)
        self.model.zero_grad()
        derained = self.model(rainy, training=True)
        loss, psnr = self._measures(derained, clean, taught)
        loss.backward()
        variables = self.model.trainable_variables
        with torch.no_grad():
            gradients = [variable.value.grad for variable in variables]
            norm = global_norm(gradients)
            self.optimizer.apply(_clipped(gradients, norm, self.clip_norm), variables)
        return {"loss": loss.detach(), "psnr": psnr.detach(), "gradient_norm": norm}

    def predict(self, rainy):
        import torch

        with torch.no_grad():
            return ops.convert_to_numpy(self.model(rainy, training=False))
