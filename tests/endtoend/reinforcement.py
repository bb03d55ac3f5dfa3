"""Agents."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf
from endtoend.harness import Graph, graph
from endtoend.layers import dense, integers, minimize, normal, uniform


@graph()
def deep_q_network_with_target() -> Graph:
    s, s_ = tf.placeholder(tf.float32, [None, 4], name="s"), tf.placeholder(tf.float32, [None, 4], name="s_")
    a, r = tf.placeholder(tf.int32, [None], name="a"), tf.placeholder(tf.float32, [None], name="r")
    done = tf.placeholder(tf.bool, [None], name="done")

    def network(value: Any, scope: str) -> Any:
        with tf.variable_scope(scope):
            hidden = dense(value, 8, tf.nn.relu)
            advantage = dense(hidden, 3)
            return dense(hidden, 1) + advantage - tf.reduce_mean(advantage, axis=1, keepdims=True)

    q, target = network(s, "eval_net"), network(s_, "target_net")
    pairs = list(zip(tf.global_variables("target_net"), tf.global_variables("eval_net"), strict=True))

    def replace() -> Any:
        return tf.group(*[tf.assign(t, e) for t, e in pairs])

    def soft() -> Any:
        return tf.group(*[tf.assign(t, 0.9 * t.read_value() + 0.1 * e.read_value()) for t, e in pairs])

    chosen = tf.gather_nd(q, tf.stack([tf.range(tf.shape(a)[0]), a], 1))
    goal = tf.stop_gradient(r + 0.9 * tf.reduce_max(target, 1) * (1.0 - tf.cast(done, tf.float32)))
    errors = tf.abs(goal - chosen)
    loss = tf.reduce_mean(tf.where(errors < 1, 0.5 * tf.square(errors), errors - 0.5))
    step = tf.Variable(0, trainable=False, name="learn_step_counter")
    learn = tf.train.RMSPropOptimizer(0.01).minimize(loss, var_list=tf.trainable_variables("eval_net"))
    with tf.control_dependencies([learn]):
        counted = tf.assign_add(step, 1)
    with tf.control_dependencies([counted]):
        train = tf.cond(tf.equal(counted % 3, 0), replace, soft)
    epsilon = tf.train.exponential_decay(1.0, step, 2, 0.5, staircase=True)
    explore = tf.random_uniform([tf.shape(s)[0]], seed=4) < epsilon
    wild = tf.random_uniform([tf.shape(s)[0]], 0, 3, dtype=tf.int32, seed=5)
    act = tf.where(explore, wild, tf.argmax(q, 1, output_type=tf.int32))
    feeds = {s: normal(5, 4), s_: normal(5, 4, seed=1), a: integers(3, 5), r: uniform(5), done: [0, 0, 1, 0, 1]}
    feeds[done] = np.array(feeds[done], bool)
    train = train if isinstance(train, tf.Operation) else train.op
    return Graph(feeds, [q, act, goal, loss, step, epsilon], train, steps=5)


@graph()
def reinforce() -> Graph:
    states, actions = tf.placeholder(tf.float32, [None, 3], name="states"), tf.placeholder(tf.int32, [None], name="a")
    rewards = tf.placeholder(tf.float32, [None], name="rewards")
    discounted = tf.scan(lambda total, reward: reward + 0.9 * total, rewards, initializer=0.0, reverse=True)
    mean, variance = tf.nn.moments(discounted, [0])
    advantages = tf.stop_gradient((discounted - mean) / tf.sqrt(variance + 1e-8))
    logits = dense(dense(states, 6, tf.nn.tanh), 4)
    entropy = -tf.reduce_sum(tf.nn.softmax(logits) * tf.nn.log_softmax(logits), 1)
    loss = tf.reduce_mean(
        tf.nn.sparse_softmax_cross_entropy_with_logits(labels=actions, logits=logits) * advantages - 0.01 * entropy
    )
    drawn = tf.squeeze(tf.multinomial(logits, 1, seed=2), 1)
    feeds = {states: normal(6, 3), actions: integers(4, 6), rewards: uniform(6)}
    return Graph(feeds, [drawn, advantages, entropy, loss], minimize(tf.train.AdamOptimizer(0.02), loss))


@graph()
def actor_critic_with_clipping() -> Graph:
    """PPO with a Gaussian policy: an old and a new actor, copied by assignments."""
    s, a = tf.placeholder(tf.float32, [None, 3], name="s"), tf.placeholder(tf.float32, [None, 1], name="a")
    returns = tf.placeholder(tf.float32, [None, 1], name="r")

    def actor(scope: str, trainable: bool) -> tuple[Any, Any]:
        with tf.variable_scope(scope):
            w = tf.get_variable("w", [3, 2], trainable=trainable)
            mean, spread = tf.split(tf.matmul(s, w), 2, 1)
            return 2 * tf.tanh(mean), tf.nn.softplus(spread) + 0.1

    def log_probability(mean: Any, spread: Any) -> Any:
        return -0.5 * tf.square((a - mean) / spread) - tf.log(spread) - 0.5 * np.log(2 * np.pi).astype(np.float32)

    value = dense(dense(s, 6, tf.nn.relu), 1)
    (mean, spread), old = actor("pi", True), actor("old_pi", False)
    advantage = tf.stop_gradient(returns - value)
    ratio = tf.exp(log_probability(mean, spread) - log_probability(*old))
    clipped = tf.clip_by_value(ratio, 0.8, 1.2)
    loss = -tf.reduce_mean(tf.minimum(ratio * advantage, clipped * advantage)) + 0.5 * tf.reduce_mean(
        tf.square(returns - value)
    )
    with tf.control_dependencies([tf.train.AdamOptimizer(0.01).minimize(loss, name="step")]):
        pairs = zip(tf.trainable_variables("pi"), tf.global_variables("old_pi"), strict=True)
        train = tf.group(*[old.assign(0.5 * (old.read_value() + new.read_value())) for new, old in pairs])
    action = tf.clip_by_value(mean + spread * tf.random_normal(tf.shape(mean), seed=6), -2.0, 2.0)
    feeds = {s: normal(5, 3), a: normal(5, 1), returns: uniform(5, 1)}
    return Graph(feeds, [action, ratio, value, loss], train)


@graph()
def bandit_with_counts_in_variables() -> Graph:
    arm, reward = tf.placeholder(tf.int32, [], name="arm"), tf.placeholder(tf.float32, [], name="reward")
    counts = tf.get_variable("counts", [4], initializer=tf.ones_initializer(), trainable=False)
    values = tf.get_variable("values", [4], initializer=tf.zeros_initializer(), trainable=False)
    counted = tf.scatter_add(counts, [arm], [1.0])
    with tf.control_dependencies([counted]):
        rate = 1.0 / tf.gather(counts, arm)
        update = tf.scatter_add(values, [arm], [rate * (reward - tf.gather(values, arm))])
    bound = values + tf.sqrt(2.0 * tf.log(tf.reduce_sum(counts)) / counts)
    feeds = [{arm: i, reward: 0.3 * i} for i in (2, 0, 2)]
    train = tf.group(update, name="train_step")
    return Graph(feeds, [tf.argmax(bound), bound], train, steps=6)
