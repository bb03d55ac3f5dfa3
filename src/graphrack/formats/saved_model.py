"""SavedModels: a folder with `saved_model.pb` (or `.pbtxt`), `variables/` and `assets/`.

    saved_model.pb             a SavedModel: MetaGraphs, told apart by their sets of tags
    variables/variables.…      the checkpoint that all of them share, if they have variables
    assets/…                   files that the graph reads: tensors named by `asset_file_def`, or by the
                               collection `saved_model_assets`, are fed their paths

Reading needs only the first of them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from typing import NamedTuple

from google.protobuf.message import DecodeError

from graphrack.errors import AmbiguousOutput, CorruptFile, FileError, PermissionDenied, UnknownName
from graphrack.formats.proto_files import explain_missing, parse_graph_message, read_bytes
from graphrack.formats.protos import metagraph_pb2

__all__ = ["SavedMetaGraph", "choose_meta_graph", "read_saved_model", "saved_meta_graph", "saved_model_file"]

_NAMES = ("saved_model.pb", "saved_model.pbtxt")


class SavedMetaGraph(NamedTuple):
    """One MetaGraph of a SavedModel, and what stands beside it."""

    meta_graph: metagraph_pb2.MetaGraphDef
    path: str
    """The file that was read."""
    prefix: str | None
    """Of the checkpoint with the variables' values; `None` where there is none."""
    assets: dict[str, str]
    """Tensor name to the absolute path of the asset that it is to be fed."""
    digest: str
    """Of the file's bytes, and of which MetaGraph it is where the file has several."""


def saved_model_file(folder: str) -> str | None:
    """The path of the folder's `saved_model.pb` or `saved_model.pbtxt`; `None` where it has neither."""
    for name in _NAMES:
        path = os.path.join(folder, name)
        if os.path.isfile(path):
            return path
    return None


def read_saved_model(folder: str | os.PathLike[str], tags: str | Iterable[str] | None = None) -> SavedMetaGraph:
    """One MetaGraph of a SavedModel folder (or of its `saved_model.pb`).

    `tags`: the exact set of tags of the MetaGraph that is wanted, or one tag; may be left out where there
    is only one MetaGraph.

    Raises `FileError` where there is no SavedModel, `CorruptFile` where its bytes are none, `UnknownName` for
    tags that no MetaGraph has, `AmbiguousOutput` where `tags` are needed, and `PermissionDenied` for an asset
    outside of the SavedModel's `assets` folder.
    """
    folder = os.fspath(folder)
    if os.path.basename(folder) in _NAMES and not os.path.isdir(folder):
        path = folder
    else:
        found = saved_model_file(folder)
        if found is None:
            if not os.path.isdir(folder):
                raise explain_missing(folder)
            raise FileError(f"{folder!r} is no SavedModel: it holds neither {_NAMES[0]} nor {_NAMES[1]}")
        path = found
    data = read_bytes(path)
    message = parse_graph_message(data, path)
    if not isinstance(message, metagraph_pb2.SavedModel):
        raise CorruptFile(f"{path!r} ({len(data)} bytes) holds a {message.DESCRIPTOR.name}, not a SavedModel")
    return saved_meta_graph(message, path, tags, hashlib.sha256(data).hexdigest())


def saved_meta_graph(
    message: metagraph_pb2.SavedModel, path: str, tags: str | Iterable[str] | None, digest: str
) -> SavedMetaGraph:
    """The MetaGraph with those tags of the SavedModel read from `path`; raises as `read_saved_model`."""
    which = choose_meta_graph(message, tags, path)
    meta_graph = message.meta_graphs[which]
    home = os.path.dirname(os.path.abspath(path))
    return SavedMetaGraph(
        meta_graph,
        path,
        _variables(home),
        _assets(meta_graph, home),
        f"{digest}#{which}" if which else digest,
    )


def choose_meta_graph(model: metagraph_pb2.SavedModel, tags: str | Iterable[str] | None, path: str) -> int:
    """The index of the MetaGraph with those tags. Raises `UnknownName` or `AmbiguousOutput`."""
    sets = [frozenset(m.meta_info_def.tags) for m in model.meta_graphs]
    if tags is None:
        if len(sets) == 1:
            return 0
        raise AmbiguousOutput(
            f"{path!r} holds {len(sets)} MetaGraphs: say which with tags=…; there are {_listed(sets)}"
        )
    wanted = frozenset([tags] if isinstance(tags, str) else tags)
    if wanted not in sets:
        raise UnknownName(f"{path!r} has no MetaGraph with tags {_listed([wanted])}; there are {_listed(sets)}")
    return sets.index(wanted)


def _listed(sets: list[frozenset[str]]) -> str:
    return ", ".join("{" + ", ".join(repr(t) for t in sorted(tags)) + "}" for tags in sets)


def _variables(home: str) -> str | None:
    prefix = os.path.join(home, "variables", "variables")
    return prefix if os.path.isfile(prefix + ".index") else None


def _assets(meta_graph: metagraph_pb2.MetaGraphDef, home: str) -> dict[str, str]:
    assets = list(meta_graph.asset_file_def)
    if not assets and "saved_model_assets" in meta_graph.collection_def:
        for held in meta_graph.collection_def["saved_model_assets"].any_list.value:
            if held.type_url.rpartition("/")[2].endswith("AssetFileDef"):
                try:
                    assets.append(metagraph_pb2.AssetFileDef.FromString(held.value))
                except DecodeError as error:
                    raise CorruptFile(
                        f"the SavedModel in {home!r} lists an asset whose bytes are damaged: {error}"
                    ) from None
    folder = os.path.join(home, "assets")
    found = {}
    for asset in assets:
        path = os.path.normpath(os.path.join(folder, asset.filename))
        if not path.startswith(folder + os.sep):
            raise PermissionDenied(
                f"the SavedModel in {home!r} names the asset {asset.filename!r}, which lies outside of its"
                " folder `assets`"
            )
        found[asset.tensor_info.name] = path
    return found
