"""Which variables of a CI system servers carry, and which they do not."""

from __future__ import annotations

from harness.host.ownership import marks

JENKINS = {
    "JENKINS_SERVER_COOKIE": "a", "HUDSON_SERVER_COOKIE": "a", "JENKINS_NODE_COOKIE": "b", "HUDSON_COOKIE": "c",
    "JOB_NAME": "d", "JOB_BASE_NAME": "d", "BUILD_ID": "1", "BUILD_NUMBER": "1", "BUILD_TAG": "e",
}  # fmt: skip


def test_githubs_jobs_are_known_by_one_variable() -> None:
    given = {"RUNNER_TRACKING_ID": "github_1", "GITHUB_TOKEN": "t", "RUNNER_TEMP": "/t", "BUILD_ID": "7", "HOME": "/"}
    assert marks(given) == {"RUNNER_TRACKING_ID": "github_1"}


def test_a_build_of_jenkins_is_known_by_all_that_its_search_compares() -> None:
    assert marks(JENKINS | {"JENKINS_URL": "https://u", "API_TOKEN": "t"}) == JENKINS


def test_elsewhere_there_is_nothing_to_carry() -> None:
    assert marks({"BUILD_ID": "7", "JOB_NAME": "mine", "PATH": "/bin"}) == {}
