"""What POSIX says of the calls that take a path, case by case."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conformance import pjdfstest
from tests.mount.harness import Mounts, Store

pytestmark = [pytest.mark.mount, pytest.mark.slow]


# One without a server and one with: what POSIX asks for doesn't depend on which server it is.
@pytest.mark.parametrize("any_store", ["file", "moto"], indirect=True)
def test_every_case_but_those_listed_passes(
    pjdfstest_program: Path, any_store: Store, open_mounts: Mounts, tmp_path: Path
) -> None:
    """Also while it drains; and what the cases made and removed is afterwards neither here nor in the store."""
    if os.geteuid() != 0:
        pytest.skip("NOT TESTED with pjdfstest: only root can become somebody else")
    mount = open_mounts(any_store, "--persist-delay", "0s")
    outcomes = pjdfstest.run(pjdfstest_program, mount.path, tmp_path)
    deviations = list(pjdfstest.deviations(outcomes, pjdfstest.expected()))
    assert not deviations, "\n".join(deviations)
    assert os.listdir(mount.path) == []
    mount.flush()
    assert any_store.objects() == {}
