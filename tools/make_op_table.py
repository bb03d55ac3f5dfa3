"""Writes `src/graphrack/formats/op_table.binpb.z`: the definitions of all ops that TensorFlow registers.

    python tools/make_op_table.py

Needs TensorFlow (`pip install tensorflow-cpu`), and says which version it took them from. The table is an
`OpList` with the ops in the order of their names, without descriptions, deflated by zlib.
`tests/formats/test_op_table.py` compares it with the TensorFlow that is installed for the tests.
"""

from __future__ import annotations

import zlib
from pathlib import Path

TABLE = Path(__file__).parent.parent / "src" / "graphrack" / "formats" / "op_table.binpb.z"


def registered_ops() -> bytes:
    """A serialized `OpList` of every op in TensorFlow's registry, descriptions left out."""
    from tensorflow.core.framework import op_def_pb2
    from tensorflow.python.client import pywrap_tf_session

    listed = op_def_pb2.OpList.FromString(pywrap_tf_session.TF_GetBuffer(pywrap_tf_session.TF_GetAllOpList()))
    ops = sorted(listed.op, key=lambda op: op.name)
    for op in ops:
        op.ClearField("summary")
        op.ClearField("description")
        for part in (*op.input_arg, *op.output_arg, *op.attr):
            part.ClearField("description")
    table: bytes = op_def_pb2.OpList(op=ops).SerializeToString(deterministic=True)
    return table


def main() -> None:
    """Writes the table and says what is in it."""
    import tensorflow as tf

    data = registered_ops()
    TABLE.write_bytes(zlib.compress(data, 9))
    print(f"TensorFlow {tf.__version__}: {len(data)} bytes of op definitions, {TABLE.stat().st_size} deflated")


if __name__ == "__main__":
    main()
