from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from ops.channels import check_both_formats
from ops.harness import by_graphrack, check, compare
from ops.removed import check_removed

VERSIONS = ["FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"]
NARROW = [np.float16, ml_dtypes.bfloat16]


def numbers(shape: tuple[int, ...], dtype: Any = np.float32, seed: int = 0) -> np.ndarray[Any, Any]:
    return (np.random.default_rng([seed, *shape]).normal(size=shape) * 2 + 1).astype(dtype)


def statistics(channels: int) -> dict[str, np.ndarray[Any, Any]]:
    """Scale, offset, mean and variance."""
    values = {name: numbers((channels,), seed=i) for i, name in enumerate(("scale", "offset", "mean"))}
    return {**values, "variance": np.abs(numbers((channels,), seed=9)) + np.float32(0.1)}


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 1, 1, 3), (4, 7, 2, 1)])
@pytest.mark.parametrize("op", VERSIONS)
def test_inference_normalises_by_given_moments(op: str, shape: tuple[int, ...]) -> None:
    arguments = {"x": numbers(shape), **statistics(shape[-1]), "is_training": False}
    check_both_formats(op, ("x",), **arguments, refused=False)
    check_both_formats(op, ("x",), **arguments, epsilon=0.1, refused=False)


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 1, 1, 3), (4, 7, 2, 1), (0, 2, 3, 4)])
@pytest.mark.parametrize("op", VERSIONS)
def test_training_normalises_by_the_batchs_moments_and_corrects_the_running_variance(
    op: str, shape: tuple[int, ...]
) -> None:
    given = statistics(shape[-1])
    empty = np.zeros(0, np.float32)
    check_both_formats(op, ("x",), x=numbers(shape), **given, is_training=True, refused=False)
    arguments = {**given, "mean": empty, "variance": empty}
    check_both_formats(op, ("x",), x=numbers(shape), **arguments, epsilon=0.01, is_training=True, refused=False)


@pytest.mark.parametrize("factor", [0.3, 0.0, 1.0])
def test_training_averages_moments_over_batches(factor: float) -> None:
    for op in VERSIONS:
        arguments = {"x": numbers((2, 3, 4, 5)), **statistics(5), "exponential_avg_factor": factor}
        check_both_formats(op, ("x",), **arguments, is_training=True, refused=False)


@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize("is_training", [False, True])
def test_narrow_images_have_float_moments(dtype: Any, is_training: bool) -> None:
    for op in VERSIONS[1:]:
        arguments = {"x": numbers((2, 3, 4, 5), dtype), **statistics(5), "is_training": is_training}
        # Inference: TensorFlow leaves the reserve spaces of narrow images unset.
        skipped = () if is_training else (3, 4)
        # The third reserve space is a scalar or empty, depending on whether the processor computes in float16.
        last = op.endswith("V3") and dtype is not np.float16
        given = [i for i in range(6 if last else 5) if i not in skipped]
        check_both_formats(op, ("x",), **arguments, outputs=given, refused=False)


@pytest.mark.parametrize("is_training", [False, True])
def test_volumes_are_normalised_by_the_third_version(is_training: bool) -> None:
    arguments = {"x": numbers((2, 3, 4, 2, 5)), **statistics(5), "is_training": is_training}
    given = [0, 1, 2, 3, 4, 5] if is_training else [0, 1, 2, 5]
    check_both_formats("FusedBatchNormV3", ("x",), **arguments, outputs=given, refused=False)


@pytest.mark.parametrize("is_training", [False, True])
@pytest.mark.parametrize(
    "changes",
    [
        {"scale": numbers((4,))},
        {"offset": numbers((6,))},
        {"scale": numbers((1, 5))},
        {"x": numbers((3, 4, 5))},
        {"x": numbers((3, 4))},
        {"mean": numbers((4,))},
        {"variance": numbers((4,))},
        {"mean": np.zeros(0, np.float32), "variance": np.zeros(0, np.float32)},
        {"mean": np.zeros(0, np.float32), "variance": np.zeros(0, np.float32), "exponential_avg_factor": 0.5},
    ],
)
@pytest.mark.parametrize("op", VERSIONS)
def test_batch_norm_refuses_what_does_not_fit_the_channels(op: str, changes: dict[str, Any], is_training: bool) -> None:
    check(op, **({"x": numbers((2, 3, 4, 5)), **statistics(5), "is_training": is_training} | changes))


@pytest.mark.parametrize("is_training", [False, True])
@pytest.mark.parametrize("op", ["FusedBatchNormGrad", "FusedBatchNormGradV2", "FusedBatchNormGradV3"])
def test_gradients_of_batch_norm(op: str, is_training: bool) -> None:
    given = statistics(5)
    arguments: dict[str, Any] = {
        "scale": given["scale"],
        "reserve_space_1": given["mean"],
        "reserve_space_2": given["variance"],
        "is_training": is_training,
        "refused": False,
        "rtol": 1e-4,
        "atol": 1e-4,
    }
    if op.endswith("V3"):
        arguments["reserve_space_3"] = np.zeros(0, np.float32)
    images = ("y_backprop", "x")
    for shape in ((2, 3, 4, 5), (1, 1, 1, 5)):
        check_both_formats(op, images, y_backprop=numbers(shape, seed=3), x=numbers(shape), **arguments)
    if op.endswith("V3"):
        shape5 = (2, 3, 2, 2, 5)
        check_both_formats(op, images, y_backprop=numbers(shape5, seed=3), x=numbers(shape5), **arguments)
    arguments |= {"refused": True}
    check(op, y_backprop=numbers((2, 3, 4, 5)), x=numbers((2, 3, 4, 4)), **arguments)


def test_gradients_of_batch_norm_of_narrow_images() -> None:
    given = statistics(5)
    for dtype in NARROW:
        check_both_formats(
            "FusedBatchNormGradV3",
            ("y_backprop", "x"),
            y_backprop=numbers((2, 3, 4, 5), dtype, 3),
            x=numbers((2, 3, 4, 5), dtype),
            scale=given["scale"],
            reserve_space_1=given["mean"],
            reserve_space_2=given["variance"],
            reserve_space_3=np.zeros(0, np.float32),
            is_training=True,
            rtol=2e-2,
            atol=2e-2,
            refused=False,
        )


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_global_normalization_of_old_graphs(dtype: Any, scaled: bool) -> None:
    given = {key: value.astype(dtype) for key, value in statistics(5).items()}
    feeds = {"t:0": numbers((2, 3, 4, 5), dtype), "m:0": given["mean"], "v:0": given["variance"]}
    feeds |= {"beta:0": given["offset"], "gamma:0": given["scale"]}
    graph_def = tf.GraphDef()
    graph_def.versions.producer = 8  # the op was taken away in version 9
    for name in feeds:
        node = graph_def.node.add(name=name[:-2], op="Placeholder")
        node.attr["dtype"].type = tf.as_dtype(dtype).as_datatype_enum
    node = graph_def.node.add(name="op", op="BatchNormWithGlobalNormalization", input=[n[:-2] for n in feeds])
    node.attr["T"].type = tf.as_dtype(dtype).as_datatype_enum
    node.attr["variance_epsilon"].f = 0.01
    node.attr["scale_after_normalization"].b = scaled
    with tf.Graph().as_default(), tf.Session() as session:
        tf.import_graph_def(graph_def, name="")
        expected = session.run("op:0", feeds)
    compare(by_graphrack(graph_def.SerializeToString(), feeds)[0], expected, rtol=5e-3 if dtype == np.float16 else None)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
@pytest.mark.parametrize("scaled", [True, False])
def test_gradients_of_the_batch_normalisation_of_old_graphs(scaled: bool, dtype: Any) -> None:
    image, (mean, gamma) = numbers((2, 3, 2, 4), dtype), numbers((2, 4), dtype, 1)
    check_removed(
        "BatchNormWithGlobalNormalizationGrad",
        t=image,
        m=mean,
        v=np.abs(gamma[::-1].copy()),
        gamma=gamma,
        backprop=numbers(image.shape, dtype, 2),
        variance_epsilon=0.1,
        scale_after_normalization=scaled,
        rtol=2e-2 if dtype == np.float16 else None,
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("radius", [0, 1, 2, 5, 100])
def test_local_response_normalization(dtype: Any, radius: int) -> None:
    loose = 1e-2 if dtype == np.float16 else None
    for depth in (1, 3, 12):
        image = numbers((2, 3, 2, depth), dtype)
        for bias, alpha, beta in ((1.0, 1.0, 0.5), (2.0, 1e-2, 0.75), (1.5, 0.5, 1.3)):
            arguments = {"depth_radius": radius, "bias": bias, "alpha": alpha, "beta": beta, "refused": False}
            (output,) = check("LRN", input=image, **arguments, rtol=loose, atol=loose)
            check(
                "LRNGrad",
                input_grads=numbers(image.shape, dtype, 1),
                input_image=image,
                output_image=output,
                **arguments,
                rtol=loose and 0.1,
                atol=loose and 0.1,
            )


def test_local_response_normalization_refuses_other_ranks() -> None:
    check("LRN", input=numbers((2, 3, 4)), refused=True)
    image = numbers((1, 2, 3, 4))
    check("LRNGrad", input_grads=image, input_image=image, output_image=numbers((1, 2, 3, 5)), refused=True)


@pytest.mark.parametrize("side", [False, True])
@pytest.mark.parametrize("activation", ["Identity", "Relu"])
@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16])
def test_batch_norm_fused_with_its_activation(dtype: Any, activation: str, side: bool) -> None:
    image, given, other = numbers((2, 3, 4, 5), dtype), statistics(5), numbers((2, 3, 4, 5), dtype, 4)
    feeds = {"x:0": image, **{f"{key}:0": value for key, value in given.items()}}
    if side:
        feeds["side:0"] = other
    graph_def = tf.GraphDef()
    for name, value in feeds.items():
        node = graph_def.node.add(name=name[:-2], op="Placeholder")
        node.attr["dtype"].type = tf.as_dtype(value.dtype).as_datatype_enum
    node = graph_def.node.add(name="op", op="_FusedBatchNormEx", input=[name[:-2] for name in feeds])
    node.attr["T"].type = tf.as_dtype(dtype).as_datatype_enum
    node.attr["U"].type = tf.float32.as_datatype_enum
    node.attr["num_side_inputs"].i = int(side)
    node.attr["activation_mode"].s = activation.encode()
    node.attr["is_training"].b = False
    # TensorFlow's kernel doesn't always give outputs when called outside of its optimiser's graphs.
    with tf.Graph().as_default(), tf.Session() as session:
        y = tf.nn.batch_normalization(
            image.astype(np.float32), given["mean"], given["variance"], given["offset"], given["scale"], 1e-4
        )
        y = y + other.astype(np.float32) if side else y
        expected = session.run(tf.cast(tf.nn.relu(y) if activation == "Relu" else y, tf.as_dtype(dtype)))
    found = by_graphrack(graph_def.SerializeToString(), feeds)
    for ours, theirs in zip(found[:3], (expected, given["mean"], given["variance"]), strict=True):
        compare(ours, theirs)
