"""From a path that somebody gives to what it is, and what it belongs to."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from graphrack.cli.checkpoint_facts import Facts, checkpoint_facts, folder_facts
from graphrack.cli.graph_facts import constant_size, graph_facts, signature_facts
from graphrack.cli.scopes import Item, scope_tree
from graphrack.errors import AmbiguousOutput, CorruptFile, FileError
from graphrack.formats.bundle_index import index_path
from graphrack.formats.checkpoint_files import explain
from graphrack.formats.checkpoint_names import SHARD, STATE_FILE, is_table
from graphrack.formats.graph_files import ModelFile, checkpoint_exists, open_model_file
from graphrack.formats.saved_model import saved_model_file
from graphrack.graph.index import GraphIndex
from graphrack.graph.interface import signatures

__all__ = ["facts_of"]


def facts_of(path: str, tags: Iterable[str] | None = None, depth: int | None = None) -> Facts:
    """What a path is and holds, in the form that `inspect --json` prints; `docs/cli.md` lists the keys.

    Args:
        tags: which MetaGraph of a SavedModel.
        depth: of the tree of scopes; without it there is none.

    Raises:
        FileError: nothing is there, or nothing that belongs to a model.
        CorruptFile, CorruptCheckpoint: its bytes are not what its format says.
    """
    facts: Facts = {
        "path": path,
        "kind": None,
        "what": None,
        "hint": None,
        "problems": [],
        "folder": None,
        "meta_graphs": None,
        "graph": None,
        "checkpoint": None,
        "tree": None,
    }
    alone = not os.path.isfile(path + ".meta")  # else it is a checkpoint's prefix, whatever lies there
    if alone and os.path.basename(path) == STATE_FILE and os.path.isfile(path):
        file = _folder(facts, os.path.dirname(path) or ".")
        facts["what"] = f"the state file of {facts['what']}"
    elif alone and os.path.isfile(path) and _checkpoint_file(facts, path):
        file = None
    elif alone and os.path.isdir(path) and saved_model_file(path) is None:
        file = _folder(facts, path)
    else:
        file = _model(facts, path, tags)
    if tags is not None and facts["kind"] != "saved model":
        raise FileError(f"{path} is no SavedModel; only these have tags")
    if file is not None:
        facts["graph"] = graph_facts(file, facts["problems"])
    if depth is not None:
        facts["tree"] = _tree(facts, file, depth)
    return facts


def _checkpoint_file(facts: Facts, path: str) -> bool:
    """Whether the path is a file of a checkpoint: then the facts are the checkpoint's."""
    whole = SHARD.fullmatch(path)
    if path.endswith(".index"):
        prefix = path.removesuffix(".index")
        what = f"the index of the checkpoint {prefix}: its tensors' names, shapes and places"
    elif whole and whole["prefix"].endswith(".data"):
        prefix = whole["prefix"].removesuffix(".data")
        what = f"file {int(whole['shard']) + 1} of {int(whole['shards'])} with the values of the checkpoint {prefix}"
        if not os.path.isfile(index_path(prefix)):
            raise FileError(
                f"{path} is {what}; {index_path(prefix)} is missing, and only that tells what the values are"
            )
    elif whole and is_table(path):
        prefix = whole["prefix"]
        what = f"file {int(whole['shard']) + 1} of {int(whole['shards'])} of the checkpoint {prefix}, of version 1"
    elif is_table(path):
        prefix, what = path, "a checkpoint of version 1, without a graph"
    else:
        return False
    _values(facts, prefix, what)
    return True


def _values(facts: Facts, prefix: str, what: str) -> None:
    facts["kind"], facts["what"] = "checkpoint", what
    facts["checkpoint"] = checkpoint_facts(prefix)
    if os.path.isfile(prefix + ".meta"):
        facts["hint"] = f"its graph is {prefix}.meta; `graphrack inspect {prefix}` shows both"
    else:
        facts["hint"] = f"to run it, give a graph: `graphrack run graph.pb --checkpoint {prefix}`"


def _folder(facts: Facts, path: str) -> ModelFile | None:
    """A folder of checkpoints: what is in it, and the latest."""
    folder = folder_facts(path)
    if not folder["checkpoints"] and folder["state_file"] is None:
        open_model_file(path)  # says what is in it that can be opened
    facts["kind"], facts["folder"] = "folder", folder
    latest = folder["latest"]
    if folder["missing"]:
        facts["problems"].append(
            f"the state file lists checkpoints that are not there: {', '.join(map(str, folder['missing']))}"
        )
    if latest is None:
        facts["what"] = "a folder of checkpoints, of which no state file names the latest"
        facts["hint"] = "give one of them by its prefix"
        return None
    facts["what"] = f"a folder of checkpoints; shown is the latest, {latest}"
    if not os.path.isfile(latest + ".meta"):
        facts["checkpoint"] = checkpoint_facts(latest)
        facts["hint"] = f"the latest has no graph ({latest}.meta); another checkpoint's may fit"
        return None
    return _with_values(facts, open_model_file(latest + ".meta"))


def _model(facts: Facts, path: str, tags: Iterable[str] | None) -> ModelFile | None:
    try:
        file = open_model_file(path, tags=tags)
    except CorruptFile:
        raise
    except AmbiguousOutput:
        _tag_sets(facts, path)
        return None
    except FileError:
        if not checkpoint_exists(path):
            shards = os.path.basename(path) + ".data-"
            if any(n.startswith(shards) for n in _names(path)):  # values whose index is gone
                raise FileError(explain(path)) from None
            raise
        version = 2 if os.path.isfile(index_path(path)) else 1
        _values(facts, path, f"the prefix of a checkpoint of version {version}, without a graph")
        return None
    facts["kind"] = file.kind
    if file.kind == "saved model":
        facts["what"] = "a SavedModel"
        if file.prefix is None and GraphIndex(file.graph_def).variables:
            facts["problems"].append("it has variables, and no values for them: variables/variables.index is missing")
    elif file.kind == "meta graph" and file.path == path:
        prefix = path.removesuffix(".meta")
        facts["what"] = "a graph that was saved with a checkpoint (a MetaGraph)"
        if file.prefix is None and path.endswith(".meta"):
            facts["problems"].append(
                f"the checkpoint {prefix} is not beside it: its variables have no values until restored or initialised"
            )
    elif file.path == path:
        facts["what"] = "a graph alone (a GraphDef)"
        if GraphIndex(file.graph_def).variables:
            facts["hint"] = f"its variables need values: `graphrack run {path} --checkpoint PREFIX`"
    else:
        facts["what"] = "the prefix of a checkpoint with its graph"
        if file.prefix is None:
            facts["problems"].append(f"there is a graph, {file.path}, but no checkpoint {path}")
    if file.kind == "saved model" and tags is None:
        facts["meta_graphs"] = [_tag_set(file)]
    elif file.kind == "saved model":
        _tag_sets(facts, path)
    return _with_values(facts, file)


def _names(path: str) -> list[str]:
    try:
        return os.listdir(os.path.dirname(path) or ".")
    except OSError:
        return []


def _with_values(facts: Facts, file: ModelFile) -> ModelFile:
    """Adds the facts of the checkpoint that a graph's values come from; that it can't be read is a problem."""
    if file.prefix is not None:
        try:
            facts["checkpoint"] = checkpoint_facts(file.prefix)
        except FileError as error:
            facts["problems"].append(str(error))
        else:
            if facts["checkpoint"]["problem"]:
                facts["problems"].append(facts["checkpoint"]["problem"])
    return file


def _tag_sets(facts: Facts, path: str) -> None:
    """A SavedModel's MetaGraphs, each with its tags."""
    from graphrack.formats.proto_files import parse_graph_message, read_bytes
    from graphrack.formats.protos.metagraph_pb2 import SavedModel

    name = saved_model_file(path) or path
    message = parse_graph_message(read_bytes(name), name)
    assert isinstance(message, SavedModel)
    facts["kind"] = "saved model"
    facts["what"] = f"a SavedModel of {len(message.meta_graphs)} MetaGraphs"
    facts["hint"] = "choose one with --tags"
    facts["meta_graphs"] = [
        {
            "tags": sorted(meta.meta_info_def.tags),
            "nodes": len(meta.graph_def.node),
            "signatures": signature_facts(signatures(meta)),
        }
        for meta in message.meta_graphs
    ]


def _tag_set(file: ModelFile) -> Facts:
    assert file.meta_graph is not None
    return {
        "tags": sorted(file.meta_graph.meta_info_def.tags),
        "nodes": len(file.graph_def.node),
        "signatures": signature_facts(signatures(file.meta_graph)),
    }


def _tree(facts: Facts, file: ModelFile | None, depth: int) -> Facts | None:
    """The tree of a graph's nodes, or where there is none of a checkpoint's tensors."""
    name = os.path.basename(os.path.abspath(facts["path"]))
    if file is not None:
        weights = {v["name"]: (v["parameters"] or 0, v["bytes"] or 0) for v in facts["graph"]["variables"]}
        frozen = not weights  # then constants are what the model has learnt

        def item(node: Any) -> Item:
            if frozen and node.op == "Const" and "value" in node.attr:
                return Item(node.name, *constant_size(node), False, True)
            return Item(node.name, *weights.get(node.name, (0, 0)), node.name in weights, node.op == "Const")

        return scope_tree(name, map(item, file.graph_def.node), depth)
    if facts["checkpoint"] is not None:
        tensors = facts["checkpoint"]["tensors"]
        return scope_tree(name, (Item(t["name"], t["parameters"], t["bytes"] or 0, True) for t in tensors), depth)
    return None
