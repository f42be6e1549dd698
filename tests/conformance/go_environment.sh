# Sourced by tests that run Go tools: everything they write stays in the test's own directory, nothing is downloaded, and
# packages come from Debian (golang-github-google-pprof-dev). Times are printed in UTC.
export HOME=$TEST_TMPDIR GOCACHE=$TEST_TMPDIR/gocache GOPATH=/usr/share/gocode GO111MODULE=off
export GOFLAGS= GOPROXY=off GOTOOLCHAIN=local PPROF_TMPDIR=$TEST_TMPDIR TZ=UTC
