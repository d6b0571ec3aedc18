#!/usr/bin/env bash
# Builds everything and runs all tests. Arguments go to ctest, e.g. -R core. The last line counts the test cases.
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

set_up
build_target

say "running the tests"
report=$build/test-report.xml
status=0
ctest --test-dir "$build" --parallel "$jobs" --output-on-failure --no-tests=error --output-junit "$report" "$@" ||
  status=$?
[[ -s $report ]] || die "ctest wrote no report"

# Counts of the report's first element, <testsuite ... tests="4" failures="0" disabled="0" skipped="0" ...>.
count() { sed -n "s/.*[[:space:]]$1=\"\([0-9]*\)\".*/\1/p" "$report" | head -n 1; }
tests=$(count tests) failed=$(count failures) skipped=$(( $(count skipped) + $(count disabled) ))
printf '%d passed, %d failed' $((tests - failed - skipped)) "$failed"
if [[ $skipped -gt 0 ]]; then printf ', %d skipped' "$skipped"; fi
printf '\n'
exit "$status"
