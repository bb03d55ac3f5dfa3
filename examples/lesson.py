"""What the example scripts share: their one argument, and TensorFlow for those that train."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

MODELS = Path(__file__).resolve().parent / "models"


def output_folder(text: str | None) -> Path:
    """The folder that the script's argument names, made if it isn't there; else a temporary one.

    `text` is the script's docstring, which `--help` shows.
    """
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, help="where to write; a temporary folder if not given")
    folder: Path = parser.parse_args().folder or Path(tempfile.mkdtemp(prefix="graphrack-"))
    folder.mkdir(parents=True, exist_ok=True)
    print(f"writing to {folder}")
    return folder


def tensorflow() -> Any:
    """TensorFlow 1's interface, as TensorFlow 2 still has it, without its chatter."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    try:
        import tensorflow.compat.v1 as tf
    except ImportError:
        sys.exit("this example trains with TensorFlow: pip install 'graphrack[tensorflow]'")
    tf.disable_eager_execution()
    tf.logging.set_verbosity(tf.logging.ERROR)
    return tf
