"""`tf.train`, `tf.losses`, `tf.initializers`, `tf.random`, `tf.distributions`, `tf.summary`, `tf.debugging`.

Every public function has a program that TensorFlow and graphrack run: training steps one after the other.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from endtoend.harness import style
from ops.api import Programs, agree, fed

random = np.random.default_rng(2)
X = random.normal(size=(5, 3))
Y = random.normal(size=(5, 3))
LABELS = random.integers(0, 3, 5)
ONE_HOT = np.eye(3)[LABELS]
WEIGHTS = random.uniform(0.5, 2, (5, 1))
PIPELINE = "an input pipeline: what it gives is to be fed (test_outside)"
FILES = "works on files, builds nothing"
HOST = "runs sessions, builds nothing"

train = Programs(
    tf.train,
    {
        **dict.fromkeys(
            ("add_queue_runner", "batch", "batch_join", "input_producer", "limit_epochs", "maybe_batch",
             "maybe_batch_join", "maybe_shuffle_batch", "maybe_shuffle_batch_join", "range_input_producer",
             "shuffle_batch", "shuffle_batch_join", "slice_input_producer", "start_queue_runners",
             "string_input_producer"),
            PIPELINE,
        ),
        **dict.fromkeys(
            ("NewCheckpointReader", "checkpoint_exists", "checkpoints_iterator", "generate_checkpoint_state_proto",
             "get_checkpoint_mtimes", "get_checkpoint_state", "latest_checkpoint", "list_variables", "load_checkpoint",
             "load_variable", "remove_checkpoint", "summary_iterator", "update_checkpoint_state", "write_graph",
             "match_filenames_once", "init_from_checkpoint", "warm_start"),
            FILES,
        ),
        **dict.fromkeys(("MonitoredTrainingSession", "basic_train_loop", "replica_device_setter"), HOST),
        **dict.fromkeys(("export_meta_graph", "import_meta_graph"), "graphs to graphs; judged by tests of MetaGraphs"),
        "do_quantize_training_on_graphdef": "rewrites a graph",
        **dict.fromkeys(("sdca_fprint", "sdca_optimizer", "sdca_shrink_l1"),
                        "solvers of the removed linear estimators: left out, see the page of ops"),
    },
)  # fmt: skip


def _loss(w: Any = None) -> Any:
    """The loss of a small net, with variables that a step changes."""
    x, y = fed(X, np.float32, [None, 3]), fed(Y, np.float32, [None, 3])
    kernel = tf.get_variable("kernel", [3, 4], initializer=tf.glorot_uniform_initializer(seed=1))
    table = tf.get_variable("table", [6, 3], initializer=tf.random_normal_initializer(seed=2))
    rows = tf.nn.embedding_lookup(table, fed(LABELS, np.int64, [None]))
    hidden = tf.nn.tanh(tf.matmul(x + rows, kernel))
    return tf.reduce_mean(tf.squared_difference(tf.matmul(hidden, kernel, transpose_b=True), y)), [kernel, table]


OPTIMIZERS = {
    "GradientDescentOptimizer": lambda: tf.train.GradientDescentOptimizer(0.1),
    "MomentumOptimizer": lambda: tf.train.MomentumOptimizer(0.1, 0.9),
    "MomentumOptimizer nesterov": lambda: tf.train.MomentumOptimizer(0.1, 0.9, use_nesterov=True),
    "AdamOptimizer": lambda: tf.train.AdamOptimizer(0.01),
    "AdagradOptimizer": lambda: tf.train.AdagradOptimizer(0.1),
    "AdagradDAOptimizer": lambda: tf.train.AdagradDAOptimizer(
        0.1, tf.train.get_or_create_global_step(), l1_regularization_strength=0.001
    ),
    "AdadeltaOptimizer": lambda: tf.train.AdadeltaOptimizer(1.0),
    "FtrlOptimizer": lambda: tf.train.FtrlOptimizer(0.1, l1_regularization_strength=0.01),
    "FtrlOptimizer shrinkage": lambda: tf.train.FtrlOptimizer(0.1, l2_shrinkage_regularization_strength=0.01),
    "ProximalAdagradOptimizer": lambda: tf.train.ProximalAdagradOptimizer(0.1, l1_regularization_strength=0.01),
    "ProximalGradientDescentOptimizer": lambda: tf.train.ProximalGradientDescentOptimizer(0.1, 0.01, 0.02),
    "RMSPropOptimizer": lambda: tf.train.RMSPropOptimizer(0.01, momentum=0.5),
    "RMSPropOptimizer centered": lambda: tf.train.RMSPropOptimizer(0.01, centered=True),
}


@pytest.mark.parametrize("resource", [False, True])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizer_agrees(name: str, resource: bool) -> None:
    def program() -> Any:
        with tf.variable_scope("net", use_resource=resource):
            loss, variables = _loss()
            step = OPTIMIZERS[name]().minimize(loss, tf.train.get_or_create_global_step())
        with tf.control_dependencies([step]):
            return [loss, *(v.read_value() for v in variables), tf.train.get_global_step().read_value()]

    agree(program, runs=4, gradients=False)


def test_synchronous_training_agrees() -> None:
    # One replica: its gradients go through accumulators; the token queue, which waits for others, isn't run.
    def program() -> Any:
        loss, variables = _loss()
        optimizer = tf.train.GradientDescentOptimizer(0.1)
        pairs = optimizer.compute_gradients(loss, variables[:1])
        from tensorflow.python.ops import data_flow_ops

        held = data_flow_ops.ConditionalAccumulator(tf.float32, shape=variables[0].shape)
        with tf.control_dependencies([held.apply_grad(pairs[0][0], local_step=2**40)]):
            taken = held.take_grad(1)
        step = optimizer.apply_gradients([(taken, variables[0])])
        with tf.control_dependencies([step]):
            return [variables[0].read_value()]

    agree(program, runs=3, gradients=False)


@pytest.mark.parametrize("resource", [False, True])
def test_moving_averages_and_clipping_agree(resource: bool) -> None:
    def program() -> Any:
        with tf.variable_scope("net", use_resource=resource):
            loss, variables = _loss()
            optimizer = tf.train.AdamOptimizer(0.01)
            pairs = optimizer.compute_gradients(loss)
            clipped, norm = tf.clip_by_global_norm([g for g, _ in pairs], 0.5)
            step = optimizer.apply_gradients(zip(clipped, [v for _, v in pairs], strict=True))
            average = tf.train.ExponentialMovingAverage(0.9, num_updates=fed(7.0, np.float32, []), zero_debias=True)
            with tf.control_dependencies([step]):
                update = average.apply([loss, *variables])
        with tf.control_dependencies([update]):
            return [norm, *(average.average(v) for v in [loss, *variables])]

    # What initialises the averages of references, read by functions, is a race in TensorFlow.
    with style("TF2" if resource else "TF1"):
        agree(program, runs=3, gradients=False)


def test_gradient_aggregations_agree() -> None:
    def program() -> Any:
        x = fed(X, shape=[None, 3])
        loss = tf.reduce_sum(tf.gather(x, [0, 0, 2]) ** 2) + tf.reduce_sum(tf.gather(x, [1, 0]) ** 3) + tf.reduce_sum(x)
        methods = tf.AggregationMethod
        return [
            tf.gradients(loss, x, aggregation_method=m)
            for m in (methods.ADD_N, methods.EXPERIMENTAL_TREE, methods.EXPERIMENTAL_ACCUMULATE_N)
        ] + [tf.hessians(tf.reduce_sum(x[0] ** 3), x)]

    agree(program)


STEP = np.array(7)
for count in (np.array(0), STEP, np.array(33)):
    for name, args in (
        ("exponential_decay", (0.1, count, 5, 0.9)), ("natural_exp_decay", (0.1, count, 5, 0.9)),
        ("inverse_time_decay", (0.1, count, 5, 0.9)), ("polynomial_decay", (0.1, count, 20, 0.01, 2.0)),
        ("cosine_decay", (0.1, count, 20, 0.1)), ("cosine_decay_restarts", (0.1, count, 10)),
        ("linear_cosine_decay", (0.1, count, 20)), ("piecewise_constant", (count, [5, 20], [1.0, 0.5, 0.1])),
        ("piecewise_constant_decay", (count, [5, 20], [1.0, 0.5, 0.1])),
    ):  # fmt: skip
        train(name, *args)
for name in ("exponential_decay", "natural_exp_decay", "inverse_time_decay"):
    train(name, 0.1, STEP, 5, 0.9, staircase=True)
train("polynomial_decay", 0.1, np.array(33), 20, 0.01, cycle=True)
train("polynomial_decay", 0.1, np.array(0), 20, 0.01, cycle=True)
train.build("noisy_linear_cosine_decay", lambda: tf.train.noisy_linear_cosine_decay(0.1, fed(7, shape=[]), 20))


def _global_step() -> Any:
    step = tf.train.create_global_step()
    tf.train.assert_global_step(step)
    assert tf.train.get_global_step() is tf.train.get_or_create_global_step()
    with tf.control_dependencies([tf.assign_add(step, 3)]):
        return [step.read_value()]


for name in (
    "create_global_step", "get_global_step", "get_or_create_global_step", "assert_global_step", "global_step",
):  # fmt: skip
    train.build(name, _global_step, runs=2)

losses = Programs(
    tf.losses,
    dict.fromkeys(
        ("add_loss", "get_losses", "get_regularization_loss", "get_regularization_losses"), "collections alone"
    ),
)
REDUCTIONS = [
    "none",
    "weighted_sum",
    "weighted_mean",
    "weighted_sum_by_nonzero_weights",
    "weighted_sum_over_batch_size",
]
for reduction in REDUCTIONS:
    for weights in (1.0, WEIGHTS, WEIGHTS * 0):
        given = {"reduction": reduction, "weights": weights}
        for name in ("absolute_difference", "hinge_loss", "huber_loss", "mean_squared_error"):
            losses(name, ONE_HOT.astype(np.float32), X.astype(np.float32), **given)
        losses("log_loss", ONE_HOT.astype(np.float32), (np.abs(X) / 4).astype(np.float32), **given)
        losses("compute_weighted_loss", X.astype(np.float32), **given)
    flat = {"reduction": reduction, "weights": WEIGHTS[:, 0]}
    losses("softmax_cross_entropy", ONE_HOT, X, label_smoothing=0.1, **flat)
    losses("sigmoid_cross_entropy", ONE_HOT, X, label_smoothing=0.1, weights=WEIGHTS, reduction=reduction)
    losses("sparse_softmax_cross_entropy", LABELS, X, **flat)
    losses("cosine_distance", ONE_HOT, X, axis=1, weights=WEIGHTS, reduction=reduction)
losses.build(
    "mean_pairwise_squared_error",
    lambda: tf.losses.mean_pairwise_squared_error(fed(X, shape=[5, 3]), fed(Y, shape=[5, 3])),
)
losses.build("get_total_loss", lambda: [tf.losses.mean_squared_error(fed(X), fed(Y)), tf.losses.get_total_loss()])


initializers = Programs(
    tf.initializers,
    {
        **dict.fromkeys(("global_variables", "local_variables", "tables_initializer", "variables"),
                        "what every program here is initialised by"),
    },
)  # fmt: skip
for name in ("he_normal", "he_uniform", "lecun_normal", "lecun_uniform"):
    initializers.build(name, lambda name=name: getattr(tf.initializers, name)(3)([4, 5]))


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64, tf.float16])
def test_initial_values_agree(dtype: Any) -> None:
    init = tf.initializers
    chosen = {
        "constant": init.constant(3), "glorot_normal": init.glorot_normal(1), "glorot_uniform": init.glorot_uniform(2),
        "ones": init.ones(), "zeros": init.zeros(), "random_normal": init.random_normal(1, 2, 3),
        "random_uniform": init.random_uniform(1, 2, 3), "truncated_normal": init.truncated_normal(1, 2, 3),
        "uniform_unit_scaling": init.uniform_unit_scaling(2, 3),
        "variance_scaling": init.variance_scaling(2, "fan_avg", "uniform", 4), "unseeded": init.truncated_normal(),
    }  # fmt: skip
    if dtype != tf.float16:
        chosen |= {"orthogonal": init.orthogonal(2.0, 5), "identity": init.identity()}
    agree(
        lambda: [tf.get_variable(name, [4, 6], dtype, how).read_value() for name, how in chosen.items()],
        gradients=False, rtol=1e-3 if dtype == tf.float16 else 1e-5,
    )  # fmt: skip


draws = Programs(
    tf.random,
    {
        "get_global_generator": "an object", "set_global_generator": "an object", "get_seed": "gives numbers, no tensors",
        "set_random_seed": "every program here is built under one", "create_rng_state": "gives an array",
    },
)  # fmt: skip
SEED = np.array([3, 4], np.int32)
ALPHA = np.array([0.5, 2.0])
for name in ("normal", "uniform", "truncated_normal"):
    for dtype in (tf.float32, tf.float64, tf.float16, tf.bfloat16):
        draws(name, np.array([3, 4], np.int32), dtype=dtype, runs=2)
        draws(f"stateless_{name}", np.array([3, 4], np.int32), SEED, dtype=dtype)
    draws(name, [2, 3], seed=5)
draws("uniform", np.array([6], np.int32), 1, 9, tf.int32)
draws("stateless_uniform", np.array([6]), SEED, 1, 9, tf.int64)
draws("stateless_uniform", np.array([6]), SEED, None, None, tf.uint32)
for name in ("gamma", "poisson"):
    parameter = ALPHA if name == "gamma" else ALPHA * 9
    draws.build(
        name,
        lambda n=name, p=parameter: getattr(tf.random, n)(
            shape=[5], dtype=tf.float64, **{"lam" if n == "poisson" else "alpha": fed(p)}
        ),
    )
    draws(f"stateless_{name}", np.array([5, 2], np.int32), SEED, parameter, dtype=tf.float64)
draws("gamma", [4], ALPHA, np.array(3.0), dtype=tf.float64)
draws("stateless_binomial", np.array([5, 2], np.int32), SEED, np.array([5.0, 50.0]), np.array([0.3, 0.6]))
draws("stateless_parameterized_truncated_normal", np.array([5, 2], np.int32), SEED, ALPHA, ALPHA + 1, ALPHA - 1, ALPHA + 3,
      gradients=False)  # fmt: skip
for name in ("categorical", "multinomial"):
    draws(name, X, 6)
    draws(name, X, 6, **{"dtype" if name == "categorical" else "output_dtype": tf.int32})
    draws(f"stateless_{name}", X, 6, SEED)
draws("shuffle", np.arange(10))
draws("fold_in", SEED, 7)
draws("split", SEED, 3)
TRUE_CLASSES = np.array([[1, 2], [3, 4]])
for name in ("log_uniform_candidate_sampler", "uniform_candidate_sampler", "learned_unigram_candidate_sampler"):
    draws(name, TRUE_CLASSES, 2, 4, True, 10)
draws("all_candidate_sampler", TRUE_CLASSES, 2, 5, True)
draws("fixed_unigram_candidate_sampler", TRUE_CLASSES, 2, 3, True, 6, unigrams=[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])


def test_generators_agree() -> None:
    def program() -> Any:
        generator = tf.random.Generator.from_seed(3)
        return [
            generator.normal([3]), generator.uniform([3], dtype=tf.float64), generator.truncated_normal([2]),
            generator.uniform([3], 0, 9, tf.int32), generator.uniform_full_int([2]), generator.make_seeds(2),
            generator.binomial([3], counts=[5.0], probs=[0.4]),
        ][:1]  # fmt: skip

    agree(program, runs=2)


summary = Programs(
    tf.summary,
    {
        "all_v2_summary_ops": "looks at a graph", "get_summary_description": "parses a summary",
        "initialize": "writes files",
    },
)  # fmt: skip
summary("scalar", "s", np.float32(2.5) * np.ones((), np.float32))
summary("scalar", "s", np.zeros(3, np.float32))
summary("histogram", "h", X)
summary("histogram", "h", np.array([1, 2, 2]))
summary("image", "i", random.integers(0, 255, (2, 3, 4, 3)).astype(np.uint8), max_outputs=2,
        use=lambda f, *a, **k: [tf.size(f(*a, **k))])  # fmt: skip
summary("audio", "a", np.clip(X[None], -1, 1).astype(np.float32), 44100.0)
summary("text", "t", np.array("hello"))
summary("tensor_summary", "t", X)
summary.build(
    "merge", lambda: tf.summary.merge([tf.summary.scalar("a", fed(1.0, np.float32)), tf.summary.histogram("b", fed(X))])
)
summary.build("merge_all", lambda: [tf.summary.scalar("a", fed(1.0, np.float32)), tf.summary.merge_all()])

debugging = Programs(
    tf.debugging,
    {
        **dict.fromkeys(
            ("disable_check_numerics", "enable_check_numerics", "disable_traceback_filtering", "enable_traceback_filtering",
             "is_traceback_filtering_enabled", "get_log_device_placement", "set_log_device_placement"), "settings"),
        **dict.fromkeys(
            ("assert_integer", "assert_proper_iterable", "assert_rank_in", "assert_same_float_dtype", "assert_scalar",
             "assert_type", "is_numeric_tensor"), "decided when the graph is built"),
    },
    tested=[tf.math],
)  # fmt: skip


def _asserted(*checks: Any) -> Any:
    with tf.control_dependencies([c for c in checks if c is not None]):
        return tf.constant(1)


def _assertion(name: str, *args: Any, **kwargs: Any) -> None:
    debugging(name, *args, use=lambda f, *a, **k: _asserted(f(*a, **k)), **kwargs)


for small, large in ((X, X + 1), (X, X), (X + 1, X), (np.zeros(0), np.zeros(0))):
    for name in ("equal", "greater", "greater_equal", "less", "less_equal", "near", "none_equal"):
        _assertion(f"assert_{name}", small, large, message="must")
    for name in ("negative", "non_negative", "non_positive", "positive"):
        _assertion(f"assert_{name}", np.abs(small))
        _assertion(f"assert_{name}", -np.abs(small))
for rank in (1, 2, 3):
    _assertion("assert_rank", X, rank)
    _assertion("assert_rank_at_least", X, rank)
_assertion("Assert", np.array(True), [X])
_assertion("Assert", np.array(False), [X, np.array(["why"])])
debugging("assert_all_finite", X, "no")
debugging("assert_all_finite", X * np.nan, "no")
debugging("check_numerics", X, "no")
debugging("check_numerics", X * np.nan, "no")
debugging.build(
    "assert_shapes", lambda: _asserted(tf.debugging.assert_shapes([(fed(X), ("N", 3)), (fed(Y), ("N", "M"))]))
)
debugging.build("assert_shapes", lambda: _asserted(tf.debugging.assert_shapes([(fed(X), ("N", 4))])))

ALL = [train, losses, initializers, draws, summary, debugging]


@pytest.mark.parametrize(("program", "options"), [p for programs in ALL for p in programs.parameters()])
def test_program_agrees(program: Any, options: Any) -> None:
    agree(program, **options)


@pytest.mark.parametrize("programs", ALL, ids=lambda p: p.namespace.__name__.rpartition(".")[2])
def test_every_function_has_a_program(programs: Programs) -> None:
    assert programs.missing() == []


def test_distributions_agree() -> None:
    d = tf.distributions

    def program() -> Any:
        a, b = fed([0.5, 2.0], np.float32, [2]), fed([1.5, 0.7], np.float32, [2])
        logits = fed(X, np.float32, [5, 3])
        scalars = [
            d.Normal(a, b), d.Gamma(a, b), d.Beta(a, b), d.Exponential(a), d.Laplace(a, b), d.Uniform(a - 1, a + 1),
            d.Bernoulli(logits=a), d.StudentT(a + 3, a, b),
        ]  # fmt: skip
        outputs: list[Any] = []
        for one in scalars:
            sample = one.sample(3, seed=4)
            outputs += [
                sample,
                one.log_prob(tf.cast(fed([0.3, 0.4], np.float32), one.dtype)),
                one.mean(),
                one.variance(),
            ]
        for one in (d.Categorical(logits=logits), d.Dirichlet(tf.exp(logits))):
            sample = one.sample(2, seed=4)
            outputs += [sample, one.log_prob(sample)]
        # Its samples are drawn in a loop whose iterations TensorFlow runs side by side.
        outputs += [d.Multinomial(4.0, logits=logits[0]).log_prob(fed([1.0, 2.0, 1.0], np.float32, [3]))]
        mixed = d.DirichletMultinomial(fed(4.0, np.float32, []), tf.exp(logits))
        outputs += [mixed.mean(), mixed.log_prob(fed([1.0, 2.0, 1.0], np.float32, [3]))]
        outputs += [d.kl_divergence(d.Normal(a, b), d.Normal(b, a)), d.Normal(a, b).entropy(), d.Normal(a, b).cdf(b)]
        return outputs

    agree(program, rtol=2e-3, gradients=False)
