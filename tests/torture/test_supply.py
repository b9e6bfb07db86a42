"""The base install is sound and pulls in no more than it needs."""

import pytest

from tests.torture import supply

pytestmark = pytest.mark.slow


def test_the_installed_packages_are_within_their_ranges():
    assert len(supply.ranges()) >= 14
    assert supply.too_old() == []


def test_the_base_install_imports_nothing_of_tests_reports_or_clusters():
    assert supply.pulled_in() == []
