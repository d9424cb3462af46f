"""NVIDIA's library on a host that a JSON file describes, read anew at each call: what a test writes is what is there.

The shapes are those of nvidia-ml-py on H200s: memory in bytes, processes with pid and usedGpuMemory, errors as
NVMLError.
"""

import json
import os
from pathlib import Path
from types import SimpleNamespace


class NVMLError(Exception):
    pass


def _host():
    return json.loads(Path(os.environ["FAKE_NVML"]).read_text())


def _all():
    for gpu in _host()["gpus"]:
        yield gpu
        yield from gpu.get("slices", [])


def _one(handle):
    return next(each for each in _all() if each["uuid"] == handle)


def nvmlInit():
    if not _host().get("driver"):
        raise NVMLError("Driver Not Loaded")


def nvmlShutdown():
    pass


def nvmlSystemGetDriverVersion():
    return _host()["driver"]


def nvmlSystemGetCudaDriverVersion_v2():
    return 13000


def nvmlDeviceGetCount():
    return len(_host()["gpus"])


def nvmlDeviceGetHandleByIndex(index):
    return _host()["gpus"][index]["uuid"]


def nvmlDeviceGetHandleByUUID(uuid):
    if uuid not in [each["uuid"] for each in _all()]:
        raise NVMLError("Not Found")
    return uuid


def nvmlDeviceGetUUID(handle):
    return handle


def nvmlDeviceGetName(handle):
    return _one(handle)["name"]


def nvmlDeviceGetMemoryInfo(handle):
    gpu = _one(handle)
    return SimpleNamespace(total=gpu.get("total", 150754820096), used=gpu.get("used", 0))


def nvmlDeviceGetComputeRunningProcesses(handle):
    return [SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in _one(handle).get("processes", [])]


def nvmlDeviceGetMigMode(handle):
    if "slices" not in _one(handle):
        raise NVMLError("Not Supported")
    return [1, 1]


def nvmlDeviceGetMaxMigDeviceCount(handle):
    return 7


def nvmlDeviceGetMigDeviceHandleByIndex(handle, index):
    slices = _one(handle)["slices"]
    if index >= len(slices):
        raise NVMLError("Not Found")
    return slices[index]["uuid"]
