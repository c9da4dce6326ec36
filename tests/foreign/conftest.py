"""The foreign package is tested where it is installed, by the tests that it brings (test_foreign_package.py)."""

collect_ignore = ["package"]
