"""Pictures and boxes: programs that detect, segment, generate and augment."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf
from endtoend.harness import Graph, graph
from endtoend.layers import batch_norm, classified, conv, dense, flatten, integers, minimize, normal, uniform, upsample


@graph(odd=("one",), rtol=1e-3, atol=1e-4)
def dcgan_with_two_optimizers() -> Graph:
    z = tf.placeholder(tf.float32, [None, 6], name="z")
    real = tf.placeholder(tf.float32, [None, 8, 8, 1], name="real")
    training = tf.placeholder_with_default(True, [], name="training")
    with tf.variable_scope("generator"):
        g = tf.reshape(dense(z, 2 * 2 * 8), [-1, 2, 2, 8])
        g = tf.nn.relu(batch_norm(g, training))
        g = tf.nn.relu(batch_norm(upsample(g, 4, activation=None), training))
        fake = upsample(g, 1, activation=tf.tanh)

    def discriminator(image: Any) -> Any:
        with tf.variable_scope("discriminator", reuse=tf.AUTO_REUSE):
            kernels = [tf.get_variable(f"k{i}", s) for i, s in enumerate(([4, 4, 1, 4], [4, 4, 4, 8]))]
            w = tf.get_variable("w", [32, 1])
        for kernel in kernels:
            image = tf.nn.leaky_relu(tf.nn.conv2d(image, kernel, 2, "SAME"), 0.2)
        return tf.matmul(flatten(image), w)

    yes, no = discriminator(real), discriminator(fake)
    entropy = tf.nn.sigmoid_cross_entropy_with_logits
    d_loss = tf.reduce_mean(
        entropy(logits=yes, labels=0.9 * tf.ones_like(yes)) + entropy(logits=no, labels=tf.zeros_like(no))
    )
    g_loss = tf.reduce_mean(entropy(logits=no, labels=tf.ones_like(no)))
    d_vars, g_vars = (tf.get_collection(tf.GraphKeys.TRAINABLE_VARIABLES, s) for s in ("discriminator", "generator"))
    d_step = tf.train.AdamOptimizer(2e-3, beta1=0.5).minimize(d_loss, var_list=d_vars)
    with tf.control_dependencies([d_step, *tf.get_collection(tf.GraphKeys.UPDATE_OPS, "generator")]):
        train = tf.train.AdamOptimizer(2e-3, beta1=0.5).minimize(g_loss, var_list=g_vars, name="train_step")
    feeds = {z: normal(3, 6), real: uniform(3, 8, 8, 1)}
    return Graph([feeds, {**feeds, training: False}], [fake, yes, d_loss, g_loss], train)


@graph(odd=("one",))
def yolo_v2_boxes_in_a_loop() -> Graph:
    x = tf.placeholder(tf.float32, [None, 16, 16, 3], name="x")
    anchors = tf.constant([[1.0, 1.5], [2.0, 1.0]])
    y = tf.nn.leaky_relu(batch_norm(conv(x, 8, strides=2, activation=None), False), 0.1)
    passed = tf.space_to_depth(y, 2)
    y = tf.concat([tf.nn.max_pool2d(y, 2, 2, "SAME"), passed], 3)
    head = tf.reshape(conv(y, 2 * 8, 1, activation=None), [-1, 4, 4, 2, 8])
    grid = tf.cast(tf.stack(tf.meshgrid(tf.range(4), tf.range(4)), -1), tf.float32)[None, :, :, None]
    centres = (tf.sigmoid(head[..., :2]) + grid) / 4
    sizes = tf.exp(head[..., 2:4]) * anchors / 4
    confidence = tf.sigmoid(head[..., 4:5])
    scores = confidence * tf.nn.softmax(head[..., 5:])
    corners = tf.concat([centres - sizes / 2, centres + sizes / 2], -1)
    boxes, best = tf.reshape(corners[0], [-1, 4]), tf.reshape(scores[0], [-1, 3])
    mask = tf.reduce_max(best, 1) >= 0.1
    boxes, best = tf.boolean_mask(boxes, mask), tf.boolean_mask(best, mask)

    def one_class(c: Any, kept: Any, classes: Any) -> tuple[Any, Any, Any]:
        chosen = tf.image.non_max_suppression(boxes, best[:, c], 4, 0.4)
        return (
            c + 1,
            tf.concat([kept, tf.gather(boxes, chosen)], 0),
            tf.concat([classes, tf.fill(tf.shape(chosen), c)], 0),
        )

    start = [tf.constant(0), tf.zeros([0, 4]), tf.zeros([0], tf.int32)]
    invariants = [tf.TensorShape([]), tf.TensorShape([None, 4]), tf.TensorShape([None])]
    _, kept, classes = tf.while_loop(lambda c, *_: c < 3, one_class, start, shape_invariants=invariants)
    loss = tf.reduce_mean(tf.square(centres - 0.5)) + tf.reduce_mean(tf.square(confidence))
    train = minimize(tf.train.MomentumOptimizer(0.01, 0.9), loss)
    return Graph([{x: normal(2, 16, 16, 3)}, {x: normal(1, 16, 16, 3)}], [kept, classes, scores, loss], train)


@graph(odd=("one",))
def yolo_v3_scales_mapped_over_the_batch() -> Graph:
    x = tf.placeholder(tf.float32, [None, None, None, 3], name="x")
    small = conv(x, 6, strides=2, activation=tf.nn.leaky_relu)
    smaller = conv(small, 6, strides=2, activation=tf.nn.leaky_relu)
    up = tf.image.resize_nearest_neighbor(smaller, tf.shape(small)[1:3], align_corners=False)
    heads = [conv(smaller, 7, 1, activation=None), conv(tf.concat([up, small], 3), 7, 1, activation=None)]
    flat = []
    for head in heads:
        shape = tf.shape(head)
        ys, xs = tf.meshgrid(tf.range(shape[1]), tf.range(shape[2]), indexing="ij")
        offset = tf.cast(tf.stack([xs, ys], -1), tf.float32)
        place = (tf.sigmoid(head[..., :2]) + offset) / tf.cast(tf.stack([shape[2], shape[1]]), tf.float32)
        flat.append(
            tf.reshape(
                tf.concat([place, tf.exp(head[..., 2:4]) * 0.2, tf.sigmoid(head[..., 4:])], -1), [shape[0], -1, 7]
            )
        )
    every = tf.concat(flat, 1)
    low, high = every[..., :2] - every[..., 2:4] / 2, every[..., :2] + every[..., 2:4] / 2
    scores = every[..., 4] * tf.reduce_max(every[..., 5:], -1)

    def pick(pair: Any) -> Any:
        boxes, score = pair
        chosen, count = tf.image.non_max_suppression_padded(boxes, score, 5, 0.45, 0.2, pad_to_max_output_size=True)
        valid = tf.cast(tf.range(5) < count, tf.float32)
        return tf.concat([tf.gather(boxes, chosen) * valid[:, None], (tf.gather(score, chosen) * valid)[:, None]], 1)

    boxes = tf.concat([low[..., ::-1], high[..., ::-1]], -1)
    found = tf.map_fn(pick, (boxes, scores), dtype=tf.float32, parallel_iterations=4)
    combined = tf.image.combined_non_max_suppression(boxes[:, :, None], every[..., 5:], 3, 4, 0.5, 0.3)
    loss = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(logits=heads[0], labels=tf.zeros_like(heads[0])))
    train = minimize(tf.train.AdamOptimizer(0.01), loss)
    images = [normal(2, 12, 16, 3), normal(1, 20, 8, 3)]
    return Graph([{x: i} for i in images], [found, *combined, loss], train)


@graph(odd=())
def ssd_matching_and_hard_negatives() -> Graph:
    features = tf.placeholder(tf.float32, [None, 4, 4, 5], name="features")
    truth = tf.placeholder(tf.float32, [None, 4], name="boxes")
    kinds = tf.placeholder(tf.int32, [None], name="kinds")
    ys, xs = tf.meshgrid((tf.range(4.0) + 0.5) / 4, (tf.range(4.0) + 0.5) / 4, indexing="ij")
    centre = tf.reshape(tf.stack([ys, xs], -1), [-1, 1, 2])
    sizes = tf.constant([[0.2, 0.2], [0.3, 0.15], [0.15, 0.3]])[None]
    anchors = tf.reshape(tf.concat([centre - sizes / 2, centre + sizes / 2], -1), [-1, 4])
    anchors = tf.clip_by_value(anchors, 0.0, 1.0)
    low = tf.maximum(anchors[:, None, :2], truth[None, :, :2])
    high = tf.minimum(anchors[:, None, 2:], truth[None, :, 2:])
    inside = tf.reduce_prod(tf.maximum(high - low, 0), -1)
    area = lambda b: tf.reduce_prod(b[:, 2:] - b[:, :2], -1)
    overlap = inside / (area(anchors)[:, None] + area(truth)[None] - inside)
    match, value = tf.argmax(overlap, 1, output_type=tf.int32), tf.reduce_max(overlap, 1)
    forced = tf.argmax(overlap, 0, output_type=tf.int32)
    count = tf.shape(truth)[0]
    match = tf.tensor_scatter_nd_update(match, forced[:, None], tf.range(count))
    value = tf.tensor_scatter_nd_max(value, forced[:, None], tf.ones([count]))
    positive = value > 0.5
    labels = tf.where(positive, tf.gather(kinds, match), tf.zeros_like(match))
    located = tf.reshape(conv(features, 12, activation=None), [-1, 4])
    logits = tf.reshape(conv(features, 9, activation=None), [-1, 3])
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    negatives = tf.cast(3 * tf.reduce_sum(tf.cast(positive, tf.int32)), tf.int32)
    hard, _ = tf.nn.top_k(tf.where(positive, tf.zeros_like(losses), losses), tf.minimum(negatives, 40))
    difference = tf.boolean_mask(located - (tf.gather(truth, match) - anchors) / 0.1, positive)
    smooth = tf.where(tf.abs(difference) < 1, 0.5 * difference**2, tf.abs(difference) - 0.5)
    loss = tf.reduce_sum(tf.boolean_mask(losses, positive)) + tf.reduce_sum(hard) + tf.reduce_sum(smooth)
    train = minimize(tf.train.MomentumOptimizer(0.01, 0.9, use_nesterov=True), loss)
    boxes = np.array([[0.1, 0.1, 0.4, 0.35], [0.5, 0.55, 0.9, 0.8]], np.float32)
    feeds = {features: normal(1, 4, 4, 5), truth: boxes, kinds: np.array([1, 2], np.int32)}
    return Graph(feeds, [labels, overlap, loss, hard], train)


@graph(odd=())
def mask_rcnn_with_pyramid_levels() -> Graph:
    image = tf.placeholder(tf.float32, [1, 32, 32, 3], name="image")
    boxes = tf.placeholder(tf.float32, [None, 4], name="boxes")
    p2 = conv(image, 4, strides=2)
    p3 = conv(p2, 4, strides=2)
    p2 = p2 + tf.image.resize_bilinear(p3, [16, 16], align_corners=True)
    h, w = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    level = tf.clip_by_value(tf.cast(tf.round(3 + tf.math.log(tf.sqrt(h * w) / 0.5) / np.log(2.0)), tf.int32), 2, 3)
    pooled, places = [], []
    for number, features in ((2, p2), (3, p3)):
        where = tf.cast(tf.where(tf.equal(level, number))[:, 0], tf.int32)
        chosen = tf.stop_gradient(tf.gather(boxes, where))
        pooled.append(tf.image.crop_and_resize(features, chosen, tf.zeros_like(where), [4, 4]))
        places.append(where)
    joined, order = tf.concat(pooled, 0), tf.concat(places, 0)
    back = tf.nn.top_k(-order, tf.shape(order)[0]).indices
    regions = tf.gather(joined, back)
    logits = dense(flatten(tf.reshape(regions, [-1, 4, 4, 4])), 3)
    masks = tf.sigmoid(conv(upsample(regions, 4), 3, 1, activation=None))
    best = tf.argmax(logits, 1, output_type=tf.int32)
    rows = tf.stack([tf.range(tf.shape(best)[0]), best], 1)
    of_class = tf.gather_nd(tf.transpose(masks, [0, 3, 1, 2]), rows)
    pasted = tf.image.crop_and_resize(
        of_class[..., None], tf.tile([[-0.5, -0.5, 1.5, 1.5]], [tf.shape(best)[0], 1]), tf.range(tf.shape(best)[0]),
        [12, 12], method="nearest", extrapolation_value=-1.0,
    )  # fmt: skip
    labels, loss = classified(logits, integers(3, 3))
    loss += tf.reduce_mean(tf.square(of_class))
    train = minimize(tf.train.MomentumOptimizer(0.05, 0.9), loss)
    given = np.array([[0.0, 0.0, 0.9, 0.8], [0.2, 0.3, 0.4, 0.5], [0.1, 0.5, 0.9, 0.95]], np.float32)
    feeds = {image: normal(1, 32, 32, 3), boxes: given, labels: integers(3, 3)}
    return Graph(feeds, [level, logits, of_class, pasted, loss], train)


@graph()
def pose_peaks_in_smoothed_heat_maps() -> Graph:
    x = tf.placeholder(tf.float32, [None, 12, 12, 2], name="x")
    sigma = 1.0
    axis = np.arange(-2, 3)
    kernel = np.exp(-(axis[:, None] ** 2 + axis**2) / (2 * sigma**2)).astype(np.float32)
    kernel = np.repeat((kernel / kernel.sum())[:, :, None, None], 2, 2)
    smooth = tf.nn.depthwise_conv2d(x, tf.constant(kernel), [1, 1, 1, 1], "SAME")
    peaks = tf.nn.max_pool2d(smooth, 3, 1, "SAME")
    only = tf.where(tf.equal(smooth, peaks) & (smooth > 0.1), smooth, tf.zeros_like(smooth))
    where = tf.where(only > 0)
    values = tf.gather_nd(only, where)
    flat = tf.reshape(tf.transpose(only, [0, 3, 1, 2]), [-1, 2, 144])
    best, _ = tf.nn.top_k(flat, 3)
    soft = tf.nn.softmax(flat * 10)
    grid = tf.reshape(tf.cast(tf.stack(tf.meshgrid(tf.range(12), tf.range(12)), -1), tf.float32), [144, 2])
    expected = tf.einsum("bkp,pd->bkd", soft, grid)
    return Graph([{x: normal(2, 12, 12, 2)}, {x: uniform(1, 12, 12, 2)}], [where, values, best, expected])


@graph(rtol=1e-3, atol=1e-4)
def optical_flow_warped_bilinearly() -> Graph:
    image = tf.placeholder(tf.float32, [None, 10, 12, 3], name="image")
    flow = tf.placeholder(tf.float32, [None, 10, 12, 2], name="flow")
    batch, height, width = tf.shape(image)[0], 10, 12
    gy, gx = tf.meshgrid(tf.range(height), tf.range(width), indexing="ij")
    query = tf.cast(tf.stack([gy, gx], 2), tf.float32)[None] - flow
    floor = tf.minimum(tf.maximum(tf.floor(query), 0.0), tf.constant([height - 2.0, width - 2.0]))
    alpha = tf.clip_by_value(query - floor, 0.0, 1.0)
    corner = tf.cast(floor, tf.int32)
    flat = tf.reshape(image, [-1, 3])
    offset = tf.reshape(tf.range(batch) * height * width, [-1, 1, 1])

    def at(dy: int, dx: int) -> Any:
        return tf.gather(flat, offset + (corner[..., 0] + dy) * width + corner[..., 1] + dx)

    ay, ax = alpha[..., :1], alpha[..., 1:]
    top = at(0, 0) + ax * (at(0, 1) - at(0, 0))
    bottom = at(1, 0) + ax * (at(1, 1) - at(1, 0))
    warped = top + ay * (bottom - top)
    smooth = tf.reduce_mean(tf.image.total_variation(flow))
    dy, dx = tf.image.image_gradients(warped)
    loss = tf.reduce_mean(tf.sqrt(tf.square(warped - image) + 1e-6)) + 0.01 * smooth
    gradient = tf.gradients(loss, [flow, image])
    feeds = {image: uniform(2, 10, 12, 3), flow: normal(2, 10, 12, 2)}
    return Graph(feeds, [warped, dy, dx, loss, gradient])


@graph(rtol=1e-3, atol=1e-4, odd=("one",))
def residual_network_v2_with_schedule_and_decay() -> Graph:
    x = tf.placeholder(tf.float32, [None, 8, 8, 3], name="x")
    training = tf.placeholder_with_default(False, [], name="training")
    y = conv(x, 8, bias=False, activation=None)
    for i, filters in enumerate((8, 12)):
        first = tf.nn.relu(batch_norm(y, training, name=f"bn_{i}a"))
        shortcut = y if filters == 8 else conv(first, filters, 1, strides=2, bias=False, activation=None)
        out = conv(first, filters, strides=1 + i, bias=False, activation=None)
        out = conv(tf.nn.relu(batch_norm(out, training, name=f"bn_{i}b")), filters, bias=False, activation=None)
        y = out + shortcut
    logits = dense(tf.reduce_mean(tf.nn.relu(batch_norm(y, training)), [1, 2]), 4)
    labels, loss = classified(logits, integers(4, 3))
    step = tf.train.get_or_create_global_step()
    loss += 1e-3 * tf.add_n([tf.nn.l2_loss(v) for v in tf.trainable_variables() if "bn" not in v.name])
    warm = tf.cast(step, tf.float32) / 2 * 0.1
    rate = tf.cond(step < 2, lambda: warm, lambda: tf.train.piecewise_constant(step, [3, 5], [0.1, 0.01, 0.001]))
    train = minimize(tf.train.MomentumOptimizer(rate, 0.9), loss, global_step=step)
    feeds = {x: normal(3, 8, 8, 3), labels: integers(4, 3), training: True}
    return Graph([feeds, {**feeds, training: False}], [logits, loss, rate], train, steps=8)


@graph(odd=("one",))
def volumetric_unet() -> Graph:
    x = tf.placeholder(tf.float32, [None, 4, 8, 8, 1], name="x")
    y = tf.placeholder(tf.int32, [None, 4, 8, 8], name="y")

    def conv3(v: Any, filters: int, name: str) -> Any:
        kernel = tf.get_variable(f"{name}/kernel", [3, 3, 3, v.shape[-1], filters])
        bias = tf.get_variable(f"{name}/bias", [filters], initializer=tf.zeros_initializer())
        return tf.nn.elu(tf.nn.bias_add(tf.nn.conv3d(v, kernel, [1] * 5, "SAME"), bias))

    down = conv3(x, 4, "down")
    low = conv3(tf.nn.max_pool3d(down, [1, 2, 2, 2, 1], [1, 2, 2, 2, 1], "SAME"), 6, "low")
    low = tf.nn.avg_pool3d(low, 3, 1, "SAME")
    kernel = tf.get_variable("up/kernel", [2, 2, 2, 4, 6])
    up = tf.nn.conv3d_transpose(low, kernel, tf.shape(down), [1, 2, 2, 2, 1], "SAME")
    up.set_shape([None, 4, 8, 8, 4])
    logits = conv3(tf.concat([up, down], 4), 2, "out")
    probability = tf.nn.softmax(logits)[..., 1]
    wanted = tf.cast(y, tf.float32)
    dice = 2 * tf.reduce_sum(probability * wanted) / (tf.reduce_sum(probability) + tf.reduce_sum(wanted) + 1e-5)
    train = minimize(tf.train.AdamOptimizer(0.01), 1 - dice)
    feeds = {x: normal(2, 4, 8, 8, 1), y: integers(2, 2, 4, 8, 8)}
    return Graph(feeds, [tf.argmax(logits, -1), probability, dice], train)


@graph(odd=("one",))
def adaptive_instance_normalisation() -> Graph:
    content = tf.placeholder(tf.float32, [None, None, None, 3], name="content")
    style = tf.placeholder(tf.float32, [None, 10, 10, 3], name="style")
    alpha = tf.placeholder_with_default(0.7, [], name="alpha")

    def encode(v: Any) -> Any:
        with tf.variable_scope("encoder", reuse=tf.AUTO_REUSE):
            kernel = tf.get_variable("kernel", [3, 3, 3, 6])
        return tf.nn.relu(tf.nn.conv2d(tf.pad(v, [[0, 0], [1, 1], [1, 1], [0, 0]], "REFLECT"), kernel, 1, "VALID"))

    c, s = encode(content), encode(style)
    (cm, cv), (sm, sv) = (tf.nn.moments(v, [1, 2], keepdims=True) for v in (c, s))
    t = tf.nn.batch_normalization(c, cm, cv, sm, tf.sqrt(sv + 1e-5), 1e-5)
    t = alpha * t + (1 - alpha) * c
    up = tf.image.resize_images(t, tf.shape(t)[1:3] * 2, tf.image.ResizeMethod.NEAREST_NEIGHBOR)
    out = conv(tf.pad(up, [[0, 0], [1, 1], [1, 1], [0, 0]], "SYMMETRIC"), 3, activation=None)
    out = tf.clip_by_value(out, 0.0, 1.0)
    b, n = tf.shape(s)[0], tf.shape(s)[3]
    flat = tf.reshape(s, [b, -1, n])
    gram = tf.matmul(flat, flat, transpose_a=True) / 100
    loss = tf.reduce_mean(tf.square(out - 0.5)) + tf.reduce_sum(tf.abs(gram)) * 1e-3
    train = minimize(tf.train.AdamOptimizer(0.01), loss)
    feeds = {content: uniform(1, 6, 8, 3), style: uniform(1, 10, 10, 3)}
    return Graph([feeds, {**feeds, content: uniform(1, 9, 5, 3), alpha: 0.1}], [out, gram, loss], train)


@graph()
def image_measures_and_colours() -> Graph:
    a = tf.placeholder(tf.float32, [None, 16, 16, 3], name="a")
    b = tf.placeholder(tf.float32, [None, 16, 16, 3], name="b")
    edges = tf.image.sobel_edges(a)
    yuv = tf.image.yuv_to_rgb(tf.image.rgb_to_yuv(a))
    hsv = tf.image.hsv_to_rgb(tf.image.rgb_to_hsv(a))
    grey = tf.image.grayscale_to_rgb(tf.image.rgb_to_grayscale(a))
    gamma = tf.image.adjust_gamma(a, 1.7, 1.1)
    flipped = tf.image.rot90(tf.image.flip_left_right(a), 3)
    resized = tf.image.resize_area(tf.image.central_crop(b, 0.5), [5, 5])
    padded = tf.image.resize_image_with_pad(b, 20, 24)
    standard = tf.map_fn(tf.image.per_image_standardization, b)
    measures = [
        tf.image.psnr(a, b, 1.0), tf.image.ssim(a, b, 1.0, filter_size=7),
        tf.image.total_variation(a), tf.reduce_mean(tf.abs(edges)),
    ]  # fmt: skip
    cubic = tf.image.resize_bicubic(a, [7, 9])
    saturated = tf.image.adjust_saturation(tf.image.adjust_hue(a, 0.1), 0.6)
    feeds = {a: uniform(2, 16, 16, 3), b: uniform(2, 16, 16, 3, seed=1)}
    fetches = [edges, yuv, hsv, grey, gamma, flipped, resized, padded, standard, cubic, saturated, *measures]
    return Graph(feeds, fetches)


@graph(odd=(), freezes=False)
def augmentation_with_seeds() -> Graph:
    image = tf.placeholder(tf.uint8, [None, None, 3], name="image")
    x = tf.image.convert_image_dtype(image, tf.float32)
    x = tf.image.random_flip_left_right(x, seed=1)
    x = tf.image.random_brightness(x, 0.2, seed=2)
    x = tf.image.random_contrast(x, 0.5, 1.5, seed=3)
    x = tf.image.random_hue(x, 0.1, seed=4)
    x = tf.image.random_saturation(x, 0.5, 1.5, seed=5)
    x = tf.clip_by_value(x, 0.0, 1.0)
    x = tf.image.pad_to_bounding_box(x, 2, 2, tf.shape(x)[0] + 4, tf.shape(x)[1] + 4)
    cropped = tf.random_crop(x, [8, 8, 3], seed=6)
    holes = tf.random_uniform([2], 0, 6, tf.int32, seed=7)
    ys, xs = tf.meshgrid(tf.range(8), tf.range(8), indexing="ij")
    hole = (ys >= holes[0]) & (ys < holes[0] + 3) & (xs >= holes[1]) & (xs < holes[1] + 3)
    cut = cropped * tf.cast(~hole, tf.float32)[..., None]
    back = tf.image.convert_image_dtype(cut, tf.uint8, saturate=True)
    noisy = cut + tf.truncated_normal(tf.shape(cut), stddev=0.1, seed=8)
    picture = integers(256, 10, 12, 3).astype(np.uint8)
    return Graph([{image: picture}, {image: picture[:8]}], [cropped, back, noisy], None)


@graph(odd=("one",))
def focal_loss_on_a_feature_pyramid() -> Graph:
    x = tf.placeholder(tf.float32, [None, 16, 16, 3], name="x")
    y = tf.placeholder(tf.float32, [None, 80, 2], name="y")
    c2 = conv(x, 4, strides=2)
    c3 = conv(c2, 6, strides=2)
    p3 = conv(c3, 4, 1, activation=None)
    p2 = conv(c2, 4, 1, activation=None) + tf.repeat(tf.repeat(p3, 2, 1), 2, 2)
    with tf.variable_scope("head"):
        kernel = tf.get_variable("kernel", [3, 3, 4, 2])
        prior = tf.get_variable("bias", [2], initializer=tf.constant_initializer(-np.log(99.0)))
    logits = tf.concat(
        [
            tf.reshape(tf.nn.bias_add(tf.nn.conv2d(p, kernel, 1, "SAME"), prior), [-1, p.shape[1] * p.shape[2], 2])
            for p in (p2, p3)
        ],
        1,
    )
    p = tf.sigmoid(logits)
    right = tf.where(tf.equal(y, 1.0), p, 1.0 - p)
    losses = -tf.where(tf.equal(y, 1.0), 0.25 * tf.ones_like(p), 0.75 * tf.ones_like(p)) * (1 - right) ** 2.0
    loss = tf.reduce_sum(losses * tf.math.log(tf.maximum(right, 1e-6))) / tf.maximum(1.0, tf.reduce_sum(y))
    train = minimize(tf.train.RMSPropOptimizer(0.01, epsilon=1.0), loss)
    return Graph({x: normal(2, 16, 16, 3), y: integers(2, 2, 80, 2).astype(np.float32)}, [p, loss], train)
