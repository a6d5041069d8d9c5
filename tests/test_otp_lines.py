"""Every line of docs/otp.md has a test that names it, or a reason why it has none."""

from __future__ import annotations

from pathlib import Path

from tests.otp_lines import EXCUSES, LAST, Coverage, coverage_of, documented, named_in


def test_the_page_has_every_line_once_and_in_order() -> None:
    assert documented() == list(range(1, LAST + 1))


def test_no_test_and_no_excuse_names_a_line_that_is_not_there() -> None:
    assert coverage_of().unknown == {}


def test_every_line_is_named_by_a_test_or_has_a_reason_why_not() -> None:
    coverage = coverage_of()
    missing = [f"S{line}" for line in coverage.unexcused]
    assert missing == [], f"name them in a test, or say in {EXCUSES.name} why there is none"
    assert all(reason for _, reason in coverage.excuses.values())


def test_no_excuse_outlives_its_reason() -> None:
    """Only reported at the end of the run while ``strict`` is off."""
    coverage = coverage_of()
    stale = [f"S{line}" for line in coverage.stale]
    assert stale == [] or not coverage.strict, f"they have tests: take them out of {EXCUSES.name}"


# -------------------------------------------------------------------------------- how it is read


def test_a_test_names_lines_in_its_docstring_and_in_its_name() -> None:
    source = '''
async def test_plain():
    """S24, S25: and the correction of S9."""
class TestGroup:
    def test_s31_and_more(self): ...
    def test_nothing(self): "Streams, S and Sx name nothing, nor does S3x."
def helper():
    """S50."""
'''
    assert dict(named_in(source)) == {
        "test_plain": {9, 24, 25},
        "test_s31_and_more": {31},
        "test_nothing": set(),
    }


def test_a_modules_list_counts_for_all_its_tests_and_a_range_for_none() -> None:
    source = '''"""About S1.

Covers S61, S62
and S63. Not S64.
"""
def test_one(): "S2 to S9"
def test_two(): "S10–S12, S13"
'''
    assert dict(named_in(source)) == {"test_one": {61, 62, 63}, "test_two": {13, 61, 62, 63}}


def test_the_report_counts_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text('def test_some():\n    "S1, S3, S82"\n', "utf-8")
    excuses = tmp_path / "excuses.toml"
    excuses.write_text('strict = true\n[planned]\nS2 = "soon"\nS3 = "old"\n', "utf-8")
    read = coverage_of(tmp_path, excuses)
    coverage = Coverage(read.tests, read.excuses, read.strict, range(1, 5))
    assert list(coverage.report()) == [
        "2 of 4 lines of docs/otp.md are named by a test",
        "  S2   planned         soon",
        "  S4   MISSING         no test names it",
        "covered by now, take them out of otp_lines.toml: S3",
    ]
    assert (coverage.unexcused, coverage.stale, list(coverage.unknown)) == ([4], [3], [82])
