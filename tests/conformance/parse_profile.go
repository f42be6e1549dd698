// Parses profiles with Go's own parser and says what it found, one line per fact.
//
//	parse_profile FILE...
//
// Checks that they are valid, that Go can aggregate them, and that they survive being written and read by Go.
package main

import (
	"bytes"
	"fmt"
	"os"
	"sort"

	"github.com/google/pprof/profile"
)

func check(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	p, err := profile.Parse(bytes.NewReader(data))
	if err != nil {
		return err
	}
	if err := p.CheckValid(); err != nil {
		return err
	}
	// What the tools do before they show anything.
	if err := p.Copy().Aggregate(true, true, true, true, false); err != nil {
		return err
	}
	// Written by Go and read again it is the same profile.
	var again bytes.Buffer
	if err := p.Write(&again); err != nil {
		return err
	}
	q, err := profile.Parse(&again)
	if err != nil {
		return err
	}
	if p.String() != q.String() {
		return fmt.Errorf("changes when it is written and read again")
	}
	total := int64(0)
	labels := map[string]bool{}
	for _, s := range p.Sample {
		total += s.Value[0]
		for k := range s.Label {
			labels[k] = true
		}
		for k := range s.NumLabel {
			labels[k] = true
		}
	}
	keys := []string{}
	for k := range labels {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	fmt.Printf("%s: type=%s/%s samples=%d total=%d locations=%d functions=%d mappings=%d labels=%q\n", path,
		p.SampleType[0].Type, p.SampleType[0].Unit, len(p.Sample), total, len(p.Location), len(p.Function),
		len(p.Mapping), keys)
	return nil
}

func main() {
	failed := false
	for _, path := range os.Args[1:] {
		if err := check(path); err != nil {
			fmt.Printf("%s: FAILED: %v\n", path, err)
			failed = true
		}
	}
	if failed {
		os.Exit(1)
	}
}
