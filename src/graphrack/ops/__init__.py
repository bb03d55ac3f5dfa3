"""What each op computes, grouped as TensorFlow's documentation groups them."""
