"""``[container]``: what the container of a case has beyond its devices."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from harness.base.settings import Strict

Reason = Annotated[str, Field(min_length=20, description="Why the case needs it.")]


class Container(Strict):
    """``[container]``: what the container of a case has beyond its devices; without a container, nothing reads it.

    What weakens the container is written as the reason for it. Capabilities cannot be asked for: its user is never
    root and may gain no privileges, so they would do nothing.
    """

    shm_gib: float = Field(
        1.0, gt=0, le=65536, description="Size of /dev/shm in GiB. Messages and KV cache go through it."
    )
    memory_gib: float | None = Field(
        None,
        gt=0,
        le=65536,
        description="Memory that everything in the container may use, /dev/shm included, in GiB; left out: nine "
        "tenths of what the container engine's machine has.",
    )
    pids: int = Field(32768, ge=64, le=4194304, description="Processes and threads that there may be in the container.")
    infiniband: bool = Field(False, description="Pass the host's /dev/infiniband devices through, where there are any.")
    seccomp_unconfined: Reason | None = Field(
        None, description="Turn off the engine's filter of system calls; the value is the reason."
    )
    memlock_unlimited: Reason | None = Field(
        None, description="Lift the limit on locked memory, which RDMA registers; the value is the reason."
    )

    @property
    def reasons(self) -> dict[str, str]:
        """What is weakened, and why."""
        given = {"seccomp unconfined": self.seccomp_unconfined, "memlock unlimited": self.memlock_unlimited}
        return {what: why for what, why in given.items() if why}
