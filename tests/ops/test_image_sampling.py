from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from ops.harness import check
from ops.samples import ints
from ops.session import Kernels, check_sessions

from graphrack.ops import registry

F = np.float32


def boxes(*rows: list[float]) -> np.ndarray[Any, Any]:
    return np.array(rows, F).reshape(1, -1, 4)


SOME = boxes([0.1, 0.2, 0.5, 0.6], [0.3, 0.3, 0.9, 0.8], [0.5, 0.5, 0.5, 0.7])


@pytest.mark.parametrize("size", [(240, 320, 3), (31, 17, 1), (1, 1, 3), (7, 200, 3)])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"min_object_covered": 0.9},
        {"aspect_ratio_range": [0.2, 5.0], "area_range": [0.01, 0.1]},
        {"area_range": [0.9, 0.95], "max_attempts": 3},
        {"aspect_ratio_range": [1.0, 1.0], "area_range": [0.5, 0.5]},
    ],
)
def test_distorted_boxes_are_tensorflows(size: tuple[int, ...], options: dict[str, Any]) -> None:
    def build() -> list[Any]:
        first = tf.raw_ops.SampleDistortedBoundingBox(
            image_size=list(size), bounding_boxes=SOME, seed=3, seed2=5, **options
        )
        rest = {k: v for k, v in options.items() if k != "min_object_covered"}
        second = tf.raw_ops.SampleDistortedBoundingBoxV2(
            image_size=list(size),
            bounding_boxes=SOME,
            min_object_covered=options.get("min_object_covered", 0.1),
            seed=8,
            seed2=1,
            **rest,
        )
        return [*first, *second]

    check_sessions(build, runs=4)
    for seed in ([1, 2], [-5, 7]):
        check(
            "StatelessSampleDistortedBoundingBox",
            image_size=ints(*size),
            bounding_boxes=SOME,
            min_object_covered=F(options.get("min_object_covered", 0.1)),
            seed=ints(*seed),
            **{k: v for k, v in options.items() if k != "min_object_covered"},
            refused=False,
        )


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16, np.int32, np.int64])
def test_distorted_boxes_have_the_sizes_dtype(dtype: Any) -> None:
    given = {"min_object_covered": F(0.1), "seed": ints(4, 5), "image_size": np.array([60, 50, 3], dtype)}
    check("StatelessSampleDistortedBoundingBox", bounding_boxes=SOME, **given, refused=False)
    none = np.zeros((1, 0, 4), F)
    whole = {"use_image_if_no_bounding_boxes": True}
    check("StatelessSampleDistortedBoundingBox", bounding_boxes=none, **given, **whole, refused=False)
    check("StatelessSampleDistortedBoundingBox", bounding_boxes=none, **given, refused=True)


def test_distorted_boxes_refuse_what_makes_no_sense() -> None:
    given = {"min_object_covered": F(0.1), "seed": ints(4, 5), "image_size": ints(60, 50, 3), "bounding_boxes": SOME}
    for wrong in (
        {"image_size": ints(60, 50)},
        {"image_size": ints(-60, 50, 3)},
        {"bounding_boxes": SOME[0]},
        {"bounding_boxes": SOME * 2},
        {"min_object_covered": F(-1)},
        {"seed": ints(1)},
        {"area_range": [0.5, 2.0]},
        {"area_range": [0.5]},
        {"aspect_ratio_range": [-1.0, 1.0]},
        {"max_attempts": 0},
    ):
        check("StatelessSampleDistortedBoundingBox", **{**given, **wrong}, refused=True)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.int64, np.float64])
def test_random_crops_are_tensorflows(dtype: Any) -> None:
    # "RandomCrop" left TensorFlow with version 8 of its graphs, but runs in graphs that are older.
    image = np.arange(9 * 8 * 3).reshape(9, 8, 3).astype(dtype)
    graph = tf.GraphDef()
    graph.versions.producer = 7
    for name, kind in (("image", tf.as_dtype(dtype)), ("size", tf.int64)):
        node = graph.node.add(name=name, op="Placeholder")
        node.attr["dtype"].type = kind.as_datatype_enum
    crop = graph.node.add(name="crop", op="RandomCrop", input=["image", "size"])
    crop.attr["T"].type = tf.as_dtype(dtype).as_datatype_enum
    crop.attr["seed"].i, crop.attr["seed2"].i = 2, 3
    kernels = Kernels(graph.SerializeToString())
    with tf.Graph().as_default(), tf.Session() as sess:
        tf.import_graph_def(graph, name="")
        for size in ((4, 5), (9, 2), (3, 8), (9, 8), (1, 1), (4, 5)):
            feeds = {"image:0": image, "size:0": np.array(size)}
            np.testing.assert_array_equal(kernels.run(["crop:0"], feeds)[0], sess.run("crop:0", feeds))
        with pytest.raises(ValueError, match="within the image's"):
            kernels.run(["crop:0"], {"image:0": image, "size:0": np.array([10, 2])})


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("depth", [1, 3, 4])
def test_boxes_are_drawn(depth: int, dtype: Any) -> None:
    images = np.random.default_rng(depth).random((2, 12, 15, depth)).astype(dtype)
    rows = [
        [0.1, 0.2, 0.7, 0.9],
        [-0.5, 0.3, 0.5, 1.5],
        [0.5, 0.5, 0.2, 0.9],
        [2, 2, 3, 3],
        [0, 0, 1, 1],
        [-2, -2, -1.5, -1.5],
        [0.4, 0.4, 0.4, 0.4],
        *([i / 20, i / 20, 1 - i / 20, 1 - i / 30] for i in range(6)),
    ]
    many = np.broadcast_to(np.array(rows, F), (2, len(rows), 4)).copy()
    check("DrawBoundingBoxes", images=images, boxes=many, refused=False)
    colors = np.random.default_rng(1).random((3, 4)).astype(F) * 255
    check("DrawBoundingBoxesV2", images=images, boxes=many, colors=colors, refused=False)
    check("DrawBoundingBoxesV2", images=images, boxes=many, colors=np.zeros((0, 4), F), refused=False)
    check("DrawBoundingBoxes", images=images, boxes=many[:1], refused=True)
    check("DrawBoundingBoxes", images=images[0], boxes=many, refused=True)
    check("DrawBoundingBoxes", images=np.zeros((2, 3, 3, 2), dtype), boxes=many, refused=True)
    check("DrawBoundingBoxes", images=images, boxes=many[..., :3], refused=True)
    check("DrawBoundingBoxesV2", images=images, boxes=many, colors=np.zeros((2, 0), F), refused=depth > 0)


@pytest.mark.parametrize("op", ["ExtractGlimpse", "ExtractGlimpseV2"])
@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("normalized", [False, True])
def test_glimpses(normalized: bool, centered: bool, op: str) -> None:
    images = np.random.default_rng(0).random((8, 9, 7, 2)).astype(F)
    offsets = np.array([[0, 0], [0.5, 0.5], [-0.4, 0.3], [0.9, -0.9], [1, 1], [-1, -1], [0.2, 3], [-5, 0]], F)
    flags = {"centered": centered, "normalized": normalized, "uniform_noise": False, "noise": "zero"}
    for size in (ints(3, 4), ints(1, 1), ints(9, 7), ints(12, 3)):
        check(op, input=images, size=size, offsets=offsets, **flags)
        if not normalized:
            check(op, input=images, size=size, offsets=offsets * 6, **flags)


@pytest.mark.parametrize("op", ["ExtractGlimpse", "ExtractGlimpseV2"])
@pytest.mark.parametrize("noise", ["uniform", "gaussian"])
def test_glimpses_beyond_the_image_show_noise_of_its_range(op: str, noise: str) -> None:
    image = np.random.default_rng(0).uniform(2, 3, (1, 9, 7, 2)).astype(F)
    attributes = {"noise": noise.encode(), "uniform_noise": noise == "uniform", "centered": False, "normalized": False}
    found = registry.lookup(op)
    assert found is not None
    kernel = found.bind("n", attributes, {})
    first, second = (kernel(image, ints(4, 4), np.array([[9, 6]], F)) for _ in range(2))
    assert ((first >= 2) & (first <= 3)).all()
    assert (first != second).any()
    check(op, input=image, size=ints(4), offsets=np.zeros((1, 2), F), refused=True)
    check(op, input=image, size=ints(4, 4), offsets=np.zeros((2, 2), F), refused=True)
    check(op, input=image, size=ints(4, 4), offsets=np.zeros((1, 2), F), noise="gaussian", refused=True)


@pytest.mark.parametrize("covered", [0.0, 0.3, 0.95])
def test_a_distorted_box_covers_one_of_many(covered: float) -> None:
    corners = np.random.default_rng(0).uniform(0, 1, (2, 40, 2)).astype(F)
    many = np.concatenate([corners.min(0), corners.max(0)], 1)[None]
    for seed in range(4):
        check(
            "StatelessSampleDistortedBoundingBox",
            image_size=ints(60, 50, 3),
            bounding_boxes=many,
            min_object_covered=F(covered),
            seed=ints(seed, 7),
            refused=False,
        )
