"""Jobs of CI systems: the marks in the environment by which a runner finds what a job left, to end it.

A server's environment is an allow-list. Without these in it, a runner that ends a job's leftovers would end the
harness and leave its servers.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

# GitHub's runner kills whatever carries its value when a job has ended. Jenkins ends what carries the cookie of a step
# that is cancelled (JENKINS_SERVER_COOKIE) or of the `node` block that is left (JENKINS_NODE_COOKIE).
_MARKS = ("RUNNER_TRACKING_ID", "JENKINS_NODE_COOKIE", "JENKINS_SERVER_COOKIE", "HUDSON_COOKIE", "HUDSON_SERVER_COOKIE")

# A freestyle build of Jenkins is known by these together with its server's cookie: one that differs is another build.
_OF_JENKINS = ("BUILD_ID", "BUILD_NUMBER", "BUILD_TAG", "JOB_BASE_NAME", "JOB_NAME")


def marks(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What marks a process as one of the job that ``environment`` belongs to; empty outside of such a job."""
    names = (*_MARKS, *_OF_JENKINS) if "JENKINS_SERVER_COOKIE" in environment else _MARKS
    return {name: environment[name] for name in names if name in environment}
