"""Writes pytorch_model_tiny.bin as torch.save would, with Python's own pickle and zipfile and stubs for torch's names.

Usage: python3 make_pytorch_bin.py [FILE]
"""

import collections
import io
import pickle
import struct
import sys
import types
import zipfile
from pathlib import Path

torch = types.ModuleType("torch")
torch_utils = types.ModuleType("torch._utils")
sys.modules["torch"] = torch
sys.modules["torch._utils"] = torch_utils


def stub(module, name):
    """A function that pickle refers to as module.name."""

    def called(*_):
        raise NotImplementedError(name)

    called.__module__, called.__qualname__, called.__name__ = module.__name__, name, name
    setattr(module, name, called)
    return called


rebuild_tensor = stub(torch_utils, "_rebuild_tensor_v2")
rebuild_parameter = stub(torch_utils, "_rebuild_parameter")
TYPES = {"f": stub(torch, "FloatStorage"), "q": stub(torch, "LongStorage"), "e": stub(torch, "HalfStorage")}


class Storage:
    def __init__(self, key, code, values):
        self.key, self.code, self.count = str(key), code, len(values)
        self.bytes = struct.pack(f"<{len(values)}{code}", *values)


class Tensor:
    def __init__(self, storage, offset, shape, stride):
        self.arguments = (storage, offset, shape, stride, False, collections.OrderedDict())

    def __reduce__(self):
        return rebuild_tensor, self.arguments


class Parameter(Tensor):
    def __reduce__(self):
        return rebuild_parameter, (Tensor(*self.arguments[:4]), True, collections.OrderedDict())


class Pickler(pickle.Pickler):
    def persistent_id(self, value):
        if isinstance(value, Storage):
            return "storage", TYPES[value.code], value.key, "cpu", value.count
        return None


def add(archive, name, content):
    """Stores an entry so that its content begins at a multiple of 64, padded in the extra field as torch does."""
    entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    padding = -(archive.fp.tell() + 30 + len(name) + 4) % 64
    entry.extra = b"FB" + struct.pack("<H", padding) + b"Z" * padding
    archive.writestr(entry, content)


def main():
    weight = Storage(0, "f", [float(i) for i in range(6)])
    steps = Storage(1, "q", [2**40, -3])
    half = Storage(2, "e", [0.5, -2.0, 65504.0])
    state = collections.OrderedDict()
    state["backbone.embedding.weight"] = Parameter(weight, 0, (2, 3), (3, 1))
    state["backbone.transposed"] = Tensor(weight, 0, (3, 2), (1, 3))
    state["steps"] = Tensor(steps, 0, (2,), (1,))
    state["half"] = Tensor(half, 1, (2,), (1,))
    state["scalar"] = Tensor(weight, 5, (), ())
    state._metadata = collections.OrderedDict([("", {"version": 1})])

    data = io.BytesIO()
    Pickler(data, protocol=2).dump(state)
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "pytorch_model_tiny.bin"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        add(archive, "pytorch_model/data.pkl", data.getvalue())
        add(archive, "pytorch_model/byteorder", b"little")
        for storage in (weight, steps, half):
            add(archive, f"pytorch_model/data/{storage.key}", storage.bytes)
        add(archive, "pytorch_model/version", b"3\n")


if __name__ == "__main__":
    main()
