// Compare runs every benchmark of tests/bench and its Go twin alternately on this machine and prints both, the ratio and the
// target. `bazel run //tests/bench:compare -- --help` lists the flags; plain arguments are regular expressions over row names.
// Without any the suites run that are short.
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
	slowTime time.Duration
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
	rows string // how its rows' names begin
	long bool   // runs only when rows of it are asked for
}

var suites = []suite{
	{"runtime", runRuntime, "BM_", false},
	{"parked", runParked, "Parked/", false},
	{"dump", runDump, "Dump/", false},
	{"shapes", runShapes, "Shapes/", true},
	{"slow reader", runSlowReader, "SlowReader/", true},
}

func main() {
	var o options
	flag.StringVar(&o.runtimeBench, "runtime_bench", "", "path, set by the build")
	flag.StringVar(&o.parkedProgram, "parked_program", "", "path, set by the build")
	flag.StringVar(&o.twin, "twin", "", "path of the Go twins, set by the build")
	flag.IntVar(&o.rounds, "rounds", 5, "how often to run each side")
	flag.DurationVar(&o.minTime, "min_time", 300*time.Millisecond, "to measure each microbenchmark for, per round")
	flag.IntVar(&o.fibers, "fibers", 100000, "parked fibers of the suites Parked, Dump, Shapes and SlowReader")
	quick := flag.Bool("quick", false, "one round, 10,000 parked fibers")
	smoke := flag.Bool("smoke", false, "everything once and tiny: shows that it runs; the figures mean nothing")
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: bazel run //tests/bench:compare -- [flags] [name regexp...]")
		flag.PrintDefaults()
	}
	flag.Parse()
	o.idleTime, o.slowTime = time.Second, 10*time.Second
	if *quick {
		o.rounds, o.fibers, o.minTime = 1, 10000, 100*time.Millisecond
	}
	if *smoke {
		o.rounds, o.fibers, o.minTime, o.small = 1, 200, time.Millisecond, true
		o.idleTime, o.slowTime = 50*time.Millisecond, 50*time.Millisecond
	}
	pattern := shortSuites()
	if o.small {
		pattern = "."
	}
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
			if !wantsRows(o, suite.rows) {
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

// shortSuites matches the rows of the suites that are not long.
func shortSuites() string {
	var patterns []string
	for _, s := range suites {
		if !s.long {
			patterns = append(patterns, "^"+s.rows)
		}
	}
	return strings.Join(patterns, "|")
}

// wantsRows tells whether a row was asked for whose name begins so. Of a suite it decides whether that runs; microbenchmarks
// filter themselves further.
func wantsRows(o options, prefix string) bool {
	for _, r := range allRows() {
		if strings.HasPrefix(r.name, prefix) && o.wanted.MatchString(r.name) {
			return true
		}
	}
	return false
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "compare:", err)
	os.Exit(1)
}
