"""Save while training, and once at the end.

Pages teach a `tf.train.Saver` inside the training loop, with `global_step` in the files' names and only the last
few kept, and another save after it. `gr.Saver` does the same from a live session, writes the same files, and
flushes them to disk: a process that is killed leaves the old checkpoint or the new one. The result opens without
TensorFlow, by its folder.
"""

from lesson import output_folder, tensorflow

import graphrack as gr

folder = output_folder(__doc__)
tf = tensorflow()

x = tf.placeholder(tf.float32, [None], name="x")
target = tf.placeholder(tf.float32, [None], name="target")
w, b = tf.Variable(0.0, name="w"), tf.Variable(0.0, name="b")
prediction = tf.add(w * x, b, name="prediction")
tf.add_to_collection("prediction", prediction)
train = tf.train.GradientDescentOptimizer(0.1).minimize(tf.reduce_mean(tf.square(prediction - target)))

saver = gr.Saver(max_to_keep=3)
with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    for step in range(1, 501):
        session.run(train, {x: [0.0, 1.0, 2.0], target: [1.0, 3.0, 5.0]})
        if step % 100 == 0:
            saver.save(session, folder / "model_name", global_step=step)
    saver.save(session, folder / "model_name")  # once at the end, without a step

print("kept:", *gr.checkpoints(folder), sep="\n  ")
model = gr.load(folder)  # the latest
print(f"2 * 10 + 1 = {model(x=[10.0])[0]:.3f}")
