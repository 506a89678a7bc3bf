"""Runs in .venv-edlio: opens a recording with edlio and prints what it finds as JSON."""

import hashlib
import itertools
import json
import sys

import edlio


def times_increase(times):
    return all(a < b for a, b in itertools.pairwise(times))


def video(dataset):
    times, indices, digests, shape = [], [], [], None
    for frame in dataset.read_data():
        times.append(int(frame.time.to("usec").magnitude))
        indices.append(int(frame.index))
        digests.append(hashlib.sha256(frame.mat.tobytes()).hexdigest())
        shape = list(frame.mat.shape)
    tsync = list(dataset.read_aux_data("tsync"))
    return {
        "kind": "video",
        "frames": len(times),
        "tsync_entries": sum(len(file.times) for file in tsync),
        "strictly_increasing": times_increase(times),
        "times_usec": times,
        "indices": indices,
        "sha256": digests,
        "shape": shape,
    }


def table(dataset):
    rows = list(dataset.read_data())
    return {"kind": "table", "header": rows[0] if rows else [], "rows": rows[1:]}


def frame(dataset):
    (data,) = list(dataset.read_data())
    return {"kind": "json", "columns": list(data.columns), "rows": data.values.tolist()}


def summary(dataset):
    data = dataset.data
    if not data.parts:
        result = {"kind": "empty"}
    elif (data.media_type or "").startswith("video/"):
        result = video(dataset)
    elif (data.media_type or "").startswith("text/csv"):
        result = table(dataset)
    elif (data.file_type or "").startswith("json"):
        result = frame(dataset)
    else:
        result = {"kind": data.media_type or data.file_type}
    result["attributes"] = dict(dataset.attributes)
    result["collection_id"] = str(dataset.collection_id)
    return result


def walk(group, prefix=""):
    found = {prefix + dataset.name: summary(dataset) for dataset in group.datasets}
    for child in group.groups:
        found |= walk(child, f"{prefix}{child.name}/")
    return found


def tsync(path):
    from edlio.dataio import tsyncfile

    if hasattr(tsyncfile, "LegacyTSyncFile"):
        legacy = tsyncfile.LegacyTSyncFile.is_legacy(path)
        file = tsyncfile.LegacyTSyncFile(path) if legacy else tsyncfile.TSyncFile(path)
    else:  # edlio 0.2.1 knows the 2.x form only
        legacy, file = True, tsyncfile.TSyncFile(path)
    tolerance = file.tolerance
    return {
        "legacy": legacy,
        "mode": int(file.sync_mode),
        "labels": list(file.time_labels),
        "generator": file.generator_name,
        "collection_id": str(file.collection_id),
        "tolerance_us": int(getattr(tolerance, "magnitude", tolerance)),
        "version": edlio.__version__,
        "times": [[int(a), int(b)] for a, b in file.times],
    }


def main():
    what, *paths = sys.argv[1:]
    if what == "tsync":
        result = [tsync(path) for path in paths]
    else:
        collection = edlio.load(*paths)
        result = {
            "type": collection.unit_type,
            "collection_id": str(collection.collection_id),
            "generator": collection.generator_id,
            "authors": [dict(author) for author in collection.authors],
            "time_created": str(collection.time_created),
            "attributes": dict(collection.attributes),
            "datasets": walk(collection),
        }
    json.dump(result, sys.stdout, default=str)


main()
