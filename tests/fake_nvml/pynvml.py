"""NVIDIA's library on a host that a JSON file describes, read anew at each call: what a test writes is what is there.

The shapes are those of nvidia-ml-py on H200s: memory in bytes, processes with pid and usedGpuMemory, errors as
NVMLError. What a host or a device has below ``errors`` is what a question answers: ``{"memory": "Not Supported"}``.
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


def _one(handle, question=""):
    found = next(each for each in _all() if each["uuid"] == handle)
    _answer(found, question)
    return found


def _answer(who, question):
    if question in who.get("errors", {}):
        raise NVMLError(who["errors"][question])


def nvmlInit():
    _answer(_host(), "init")
    if not _host().get("driver"):
        raise NVMLError("Driver Not Loaded")


def nvmlShutdown():
    pass


def nvmlSystemGetDriverVersion():
    return _host()["driver"]


def nvmlSystemGetCudaDriverVersion_v2():
    _answer(_host(), "cuda")
    return 13000


def nvmlDeviceGetCount():
    return len(_host()["gpus"])


def nvmlDeviceGetHandleByIndex(index):
    gpu = _host()["gpus"][index]
    _answer(gpu, "handle")
    return gpu["uuid"]


def nvmlDeviceGetHandleByUUID(uuid):
    if uuid not in [each["uuid"] for each in _all()]:
        raise NVMLError("Not Found")
    _one(uuid, "handle")
    return uuid


def nvmlDeviceGetUUID(handle):
    _one(handle, "uuid")
    return handle


def nvmlDeviceGetName(handle):
    return _one(handle, "name")["name"]


def nvmlDeviceGetCudaComputeCapability(handle):
    return _one(handle, "capability").get("capability", [9, 0])


def nvmlDeviceGetMemoryInfo(handle):
    gpu = _one(handle, "memory")
    return SimpleNamespace(total=gpu.get("total", 150754820096), used=gpu.get("used", 0))


def nvmlDeviceGetComputeRunningProcesses(handle):
    return [
        SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in _one(handle, "processes").get("processes", [])
    ]


NVML_TEMPERATURE_GPU = 0
nvmlEventTypeXidCriticalError = 8


def nvmlDeviceGetUtilizationRates(handle):
    return SimpleNamespace(gpu=_told(handle, "utilisation"), memory=0)


def nvmlDeviceGetPowerUsage(handle):
    return _told(handle, "milliwatts")


def nvmlDeviceGetTemperature(handle, sensor):
    assert sensor == NVML_TEMPERATURE_GPU
    return _told(handle, "celsius")


def _told(handle, name):
    gpu = _one(handle, name)
    if name not in gpu:
        raise NVMLError("Not Supported")
    return gpu[name]


def nvmlEventSetCreate():
    return {}


def nvmlEventSetFree(events):
    events.clear()


def nvmlDeviceRegisterEvents(handle, kinds, events):
    assert kinds == nvmlEventTypeXidCriticalError
    events[handle] = len(_one(handle, "events").get("xids", []))


def nvmlEventSetWait(events, milliseconds):
    for handle, told in events.items():
        if len(xids := _one(handle).get("xids", [])) > told:
            events[handle] += 1
            return SimpleNamespace(device=handle, eventType=8, eventData=xids[told])
    raise NVMLError("Timeout")


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


def nvmlDeviceGetGpuInstanceId(handle):
    return _one(handle).get("instances", [1, 0])[0]


def nvmlDeviceGetComputeInstanceId(handle):
    return _one(handle).get("instances", [1, 0])[1]
