// Compare runs every benchmark of tests/bench and its Go twin alternately on this machine and prints both, the ratio and the
// target. `bazel run //tests/bench:compare -- --help` lists the flags; plain arguments are regular expressions over row names.
//
// Figures are medians over the rounds. Alternating lets a change of the machine's mood hit both sides.
package main

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"
)

type options struct {
	runtimeBench  string
	parkedProgram string
	twin          string

	wanted   *regexp.Regexp
	rounds   int
	minTime  time.Duration
	fibers   int
	small    bool
	idleTime time.Duration
}

// side is one of the two programs that are compared.
type side int

const (
	ours side = iota
	theirs
)

func (s side) String() string { return [...]string{"fiberscope", "Go"}[s] }

// suite measures one round of one side.
type suite struct {
	name string
	run  func(s side, o options, t *table) error
	rows []string // prefixes of its rows' names
}

var suites = []suite{
	{"runtime", runRuntime, []string{"BM_"}},
	{"parked", runParked, []string{"Parked/"}},
	{"dump", runDump, []string{"Dump/"}},
}

func main() {
	var o options
	flag.StringVar(&o.runtimeBench, "runtime_bench", "", "path, set by the build")
	flag.StringVar(&o.parkedProgram, "parked_program", "", "path, set by the build")
	flag.StringVar(&o.twin, "twin", "", "path of the Go twins, set by the build")
	flag.IntVar(&o.rounds, "rounds", 5, "how often to run each side")
	flag.DurationVar(&o.minTime, "min_time", 300*time.Millisecond, "to measure each microbenchmark for, per round")
	flag.IntVar(&o.fibers, "fibers", 100000, "parked fibers of the suites Parked and Dump")
	quick := flag.Bool("quick", false, "one round, 10,000 parked fibers")
	smoke := flag.Bool("smoke", false, "everything once and tiny: shows that it runs; the figures mean nothing")
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: bazel run //tests/bench:compare -- [flags] [name regexp...]")
		flag.PrintDefaults()
	}
	flag.Parse()
	o.idleTime = time.Second
	if *quick {
		o.rounds, o.fibers, o.minTime = 1, 10000, 100*time.Millisecond
	}
	if *smoke {
		o.rounds, o.fibers, o.minTime, o.small, o.idleTime = 1, 200, time.Millisecond, true, 50*time.Millisecond
	}
	pattern := "."
	if flag.NArg() > 0 {
		pattern = strings.Join(flag.Args(), "|")
	}
	var err error
	if o.wanted, err = regexp.Compile(pattern); err != nil {
		fail(err)
	}

	fmt.Println(describeMachine())
	t := newTable(o)
	for round := 0; round < o.rounds; round++ {
		for _, suite := range suites {
			if !wantsSuite(o, suite) {
				continue
			}
			for _, s := range []side{ours, theirs} {
				fmt.Fprintf(os.Stderr, "round %d of %d: %s, %v\n", round+1, o.rounds, suite.name, s)
				if err := suite.run(s, o, t); err != nil {
					fail(fmt.Errorf("%s, %v: %w", suite.name, s, err))
				}
			}
		}
	}
	fmt.Println(describeLoad())
	if err := t.print(os.Stdout); err != nil {
		fail(err)
	}
}

// wantsSuite tells whether some row of the suite may match. Microbenchmarks filter themselves; the others have few rows, whose
// names start as the suite's do.
func wantsSuite(o options, s suite) bool {
	if o.wanted.String() == "." {
		return true
	}
	for _, name := range rowNames(o) {
		for _, prefix := range s.rows {
			if strings.HasPrefix(name, prefix) && o.wanted.MatchString(name) {
				return true
			}
		}
	}
	return false
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "compare:", err)
	os.Exit(1)
}
