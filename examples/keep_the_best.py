"""Keep the best checkpoint by accuracy, and a log of all.

Pages teach to compare each accuracy with the best so far, to save if it is better, and to write a line into a log
file. `gr.Saver(best="max")` keeps the best `max_to_keep` by the metric that `save` is given.
"""

from digits import accuracy, held_back, training
from lesson import output_folder, tensorflow

import graphrack as gr

folder = output_folder(__doc__)
tf = tensorflow()
tf.set_random_seed(1)
data, test = training(), held_back()

x = tf.placeholder(tf.float32, [None, 64], name="x")
labels = tf.placeholder(tf.float32, [None, 10], name="labels")
w, b = tf.Variable(tf.truncated_normal([64, 10], stddev=0.1), name="w"), tf.Variable(tf.zeros([10]), name="b")
logits = x @ w + b
tf.add_to_collection("probabilities", tf.nn.softmax(logits, name="probabilities"))
loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits_v2(labels=labels, logits=logits))
train = tf.train.AdamOptimizer(0.05).minimize(loss)

saver = gr.Saver(max_to_keep=2, best="max")
with tf.Session() as session, open(folder / "log.csv", "w") as log:
    session.run(tf.global_variables_initializer())
    log.write("step,accuracy\n")
    for step in range(10, 201, 10):
        for _ in range(10):
            session.run(train, {x: data.pixels, labels: data.one_hot})
        right = accuracy(session.run("probabilities:0", {x: test.pixels}), test.labels)
        saver.save(session, folder / "model", global_step=step, metric=right)
        log.write(f"{step},{right:.4f}\n")

for prefix in gr.checkpoints(folder):
    model = gr.load(prefix)
    print(f"kept {prefix}: {accuracy(model(x=test.pixels), test.labels):.2%}")
